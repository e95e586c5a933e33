"""What an engine version can't run, as it was measured with real runtimes.

The rule: the measurement decides, whatever a file says of itself; a wrong answer counts like a refusal. A version
between two measured ones is taken for the older of them, one above the newest for the newest; one below the oldest was
never tried, and so runs nothing. An operator, or types of it, of which nothing is known is not known to fail, and is
allowed: the proof, which runs the artifact in the board's engine version, is the second safeguard. Where only other
versions of an operator were measured on the same types, the worst of them counts, because kernels go by types.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from agent.contract.manifest import EngineName, ModelFormat
from agent.contract.profile import version_key

NEVER = "never"
FILES = {
    EngineName.LITERT: "tflite.toml",
    EngineName.TFLITE_RUNTIME: "tflite.toml",
    EngineName.ONNXRUNTIME: "onnx.toml",
}
ENGINES = {
    ModelFormat.TFLITE: (EngineName.LITERT, EngineName.TFLITE_RUNTIME),
    ModelFormat.ONNX: (EngineName.ONNXRUNTIME,),
}
"""Those that run files of a format."""


@dataclass(frozen=True, order=True)
class Use:
    """An operator as an artifact uses it; an ONNX file's opset and IR are two more.

    Attributes:
        name: `FULLY_CONNECTED`, `Conv`, `com.microsoft.MatMulNBits`, `opset`, `ir`.
        version: of the operator.
        types: of what it is given and gives, see `converters.tflite_file.Operator` and `converters.onnx_operators`.
    """

    name: str
    version: int
    types: str = ""

    def __str__(self) -> str:
        """For a sentence."""
        if self.name in ("opset", "ir"):
            return f"{'IR' if self.name == 'ir' else self.name} {self.version}"
        return f"`{self.name}` version {self.version}" + (f" on {self.types}" if self.types else "")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the versions of an engine run.

    Attributes:
        name: of the engine.
        versions: that were measured, oldest first.
        listed: an operator to versions of it to the engine version from which on these, and those between, are known.
        kernels: an operator and its types to versions of it to the engine version from which on answers are right.
        recipes: a recipe to an engine version to what became of how many networks.
    """

    name: str
    versions: tuple[str, ...]
    listed: Mapping[str, Mapping[int, str]]
    kernels: Mapping[tuple[str, str], Mapping[int, str]]
    recipes: Mapping[str, Mapping[str, Mapping[str, int]]]

    def runs_from(self, use: Use) -> str | None:
        """The engine version from which on an operator runs; None where no measured one runs it."""
        known = [first for version, first in self.listed.get(use.name, {}).items() if version <= use.version]
        right = self.kernels.get((use.name, use.types), {})
        known += [right[use.version]] if use.version in right else list(right.values())
        return None if NEVER in known else max([self.versions[0], *known], key=version_key)

    def lacking(self, version: str, uses: Iterable[Use]) -> tuple[Use, ...]:
        """What `version` of the engine can't run."""
        return tuple(use for use in uses if not self._runs(use, version))

    def least(self, uses: Iterable[Use]) -> str | None:
        """The least version that runs all of it; None where no measured one does."""
        firsts = [self.runs_from(use) for use in uses]
        found = [first for first in firsts if first is not None]
        return max([self.versions[0], *found], key=version_key) if len(found) == len(firsts) else None

    def _runs(self, use: Use, version: str) -> bool:
        first = self.runs_from(use)
        return first is not None and version_key(first) <= version_key(version)


@cache
def engine(name: EngineName) -> Engine:
    """What was measured of an engine."""
    return parsed(name, _read(FILES[name]))


def parsed(name: EngineName, tables: Mapping[str, Any]) -> Engine:
    """What a file of tables says of an engine."""
    found = tables[name.value]
    return Engine(
        name=name.value,
        versions=tuple(found["versions"]),
        listed={
            operator: {int(version): first for version, first in firsts.items()}
            for operator, firsts in found["listed"].items()
        },
        kernels=_kernels(found["kernels"]),
        recipes=found["recipes"],
    )


@cache
def operator_names() -> tuple[str, ...]:
    """Names of TFLite's built-in operators by their codes."""
    return tuple(_read(FILES[EngineName.LITERT])["names"])


@cache
def _read(name: str) -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _kernels(
    operators: Mapping[str, Mapping[str, Mapping[str, str]]],
) -> dict[tuple[str, str], dict[int, str]]:
    found: dict[tuple[str, str], dict[int, str]] = {}
    for operator, versions in operators.items():
        for version, firsts in versions.items():
            for first, types in firsts.items():
                for each in types.split("; "):
                    found.setdefault((operator, each), {})[int(version)] = first
    return found
