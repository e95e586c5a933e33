"""What a wheel's file name says: which Python, which processor, which glibc.

The rule: the name is a promise of whoever built the wheel. It decides what is fetched; whether the promise is kept
is read from the shared objects themselves (`elf`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.contract.profile import version_key

_MANYLINUX = re.compile(r"manylinux_(?P<major>\d+)_(?P<minor>\d+)_(?P<architecture>\w+)\Z")
_OLD_NAMES = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}


@dataclass(frozen=True, kw_only=True)
class WheelName:
    """The parts of `numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl`.

    Attributes:
        file: the whole name.
        distribution: normalised, like `ai-edge-litert`.
        version: as it stands there.
        pythons, abis, platforms: the tags.
    """

    file: str
    distribution: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @classmethod
    def parse(cls, file: str) -> WheelName:
        """The parts of a wheel's file name.

        Raises:
            ValueError: it is none.
        """
        parts = file.removesuffix(".whl").split("-")
        if not file.endswith(".whl") or len(parts) not in (5, 6) or not all(parts):
            raise ValueError("its name is not that of a wheel, NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
        return cls(
            file=file,
            distribution=re.sub(r"[-_.]+", "-", parts[0]).lower(),
            version=parts[1],
            pythons=tuple(parts[-3].split(".")),
            abis=tuple(parts[-2].split(".")),
            platforms=tuple(parts[-1].split(".")),
        )

    def runs_on_python(self, python: str) -> bool:
        """Whether it is made for CPython `3.11`, or for every one of at most that age that keeps the stable ABI."""
        wanted = version_key(python)
        exact = "cp" + "".join(str(part) for part in wanted)
        for tag in self.pythons:
            if tag == exact and {exact, "none", "abi3"} & set(self.abis):
                return True
            if tag in ("py3", f"py{exact[2:]}") and "none" in self.abis:
                return True
            stable = re.fullmatch(r"cp3(\d+)", tag)
            if stable and "abi3" in self.abis and (3, int(stable[1])) <= wanted:
                return True
        return False

    def least_glibc(self, architecture: str) -> str | None:
        """The least glibc that it promises to run with on that processor, like `2.17`.

        Returns:
            An empty string for a wheel without native code or without a promise (`linux_aarch64`); None when it is
            made for another processor or system.
        """
        found = []
        for tag in self.platforms:
            if tag in ("any", f"linux_{architecture}"):
                return ""
            name, _, rest = tag.partition("_")
            if name in _OLD_NAMES and rest == architecture:
                found.append(_OLD_NAMES[name])
            elif (match := _MANYLINUX.match(tag)) and match["architecture"] == architecture:
                found.append(f"{match['major']}.{match['minor']}")
        return min(found, key=version_key, default=None)
