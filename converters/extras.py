"""Whose interpreter makes which target, found out before a process is started for nothing.

The rule: this process's own where the packages are importable, else the environment of a framework where it was
made, else an error whose hint is the one command that helps.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import ExtraMissing, FrameworkMissing
from converters.frameworks.environment import Environment, made
from converters.frameworks.pins import find
from converters.job import ConversionJob, Target
from converters.routes import route
from converters.source import SourceFormat

EXTRAS = {
    "tensorflow": "tensorflow", "keras": "tensorflow", "h5py": "tensorflow", "tf2onnx": "tensorflow",
    "onnx": "onnx", "onnxruntime": "onnx",
    "pyarrow": "parquet",
}  # fmt: skip
"""Package to the extra of `edge-toolkit` that installs it."""


@dataclass(frozen=True)
class Interpreter:
    """What runs a child process.

    Attributes:
        python: the program.
        own: it is this process's own, which finds edge's packages by itself.
    """

    python: Path
    own: bool


HERE = Interpreter(Path(sys.executable), own=True)


def interpreters(job: ConversionJob, environments: Path | None) -> dict[Interpreter, tuple[Target, ...]]:
    """Which interpreter makes which targets of a job.

    Args:
        job: what is to be made.
        environments: folder of the frameworks' environments, or None.

    Raises:
        ExtraMissing: a package that is needed is nowhere.
        ModelUnsupported: there is no way to one of the targets.
    """
    found: dict[Interpreter, tuple[Target, ...]] = {}
    for target in job.targets:
        chosen = _interpreter(job, target, environments)
        found[chosen] = (*found.get(chosen, ()), target)
    return found


def programs(source: SourceFormat, targets: Iterable[Target]) -> set[str]:
    """Frameworks that do one step of a conversion in a process of their own."""
    return {route(source, target.format, path="the model").program for target in targets} - {""}


def program(name: str, environments: Path | None) -> Path:
    """The interpreter for the one step of a conversion that the framework `name` does.

    Raises:
        FrameworkMissing: its environment is not made.
    """
    if all(installed(module) for module in find(name).modules):
        return HERE.python
    return _environment((name,), environments).python


def require(source: SourceFormat, targets: Iterable[Target]) -> None:
    """Raise ExtraMissing for the first package that the host needs for a job and that is not installed."""
    for target in targets:
        for module in needed(source, target):
            if not installed(module):
                raise ExtraMissing(package=module, extra=EXTRAS[module])


def needed(source: SourceFormat, target: Target) -> tuple[str, ...]:
    """Modules that the child must be able to import for one target."""
    modules = route(source, target.format, path="the model").modules
    if source is SourceFormat.TFLITE and target.answer_here and not installed("ai_edge_litert"):
        return (*modules, "tensorflow")
    return modules


def _interpreter(job: ConversionJob, target: Target, environments: Path | None) -> Interpreter:
    way = route(job.source_format, target.format, path=job.source)
    if way.program:
        program(way.program, environments)
    if not way.frameworks or all(installed(module) for module in way.modules):
        require(job.source_format, [target])
        return HERE
    return Interpreter(_environment(way.frameworks, environments).python, own=False)


def _environment(names: tuple[str, ...], environments: Path | None) -> Environment:
    """The first of these frameworks' environments that is made."""
    for name in names:
        if environments is not None and (environment := made(find(name), environments)):
            return environment
    first = find(names[0])
    raise FrameworkMissing(
        package=first.modules[0], extra=first.name, title=first.title, framework=first.name
    )


def installed(package: str) -> bool:
    """Whether `package` can be imported, found out without importing it."""
    return importlib.util.find_spec(package) is not None
