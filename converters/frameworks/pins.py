"""What goes into the environment of a framework, as data: versions alone, never an address.

The rule: an environment is named for the digest of its pins, so that other pins are another environment and an
older one is never taken for it.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.contract.codec import from_plain
from agent.contract.errors import FrameworkUnknown

FOLDER = Path(__file__).parent
DIGEST_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class Framework:
    """One framework, as its file says.

    Attributes:
        name: what people type.
        title: what it is for.
        pythons: versions of Python that it runs on, in the order of choice.
        modules: what can be imported where it is there.
        packages: requirements, as pip takes them.
    """

    name: str
    title: str
    pythons: tuple[str, ...]
    modules: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def folder_name(self) -> str:
        """Name of its environment's folder."""
        pins = "\n".join((*self.pythons, *self.packages)).encode()
        return f"{self.name}-{hashlib.sha256(pins).hexdigest()[:DIGEST_LETTERS]}"


@functools.cache
def frameworks() -> Mapping[str, Framework]:
    """All of them, by name."""
    plain = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.toml"))}
    return {name: from_plain(Framework, {**values, "name": name}) for name, values in plain.items()}


def find(name: str) -> Framework:
    """The framework of that name.

    Raises:
        FrameworkUnknown: there is none.
    """
    known = frameworks()
    if name not in known:
        matches = difflib.get_close_matches(name.lower(), known, n=1)
        raise FrameworkUnknown(
            framework=name,
            suggestion=f", did you mean `{matches[0]}`?" if matches else "",
            known=", ".join(known),
        )
    return known[name]
