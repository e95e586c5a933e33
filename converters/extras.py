"""Optional packages, asked for before a process is started for nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from agent.contract.errors import ExtraMissing
from agent.contract.manifest import ModelFormat
from converters.job import Target
from converters.source import SourceFormat

EXTRAS = {
    "tensorflow": "tensorflow", "keras": "tensorflow", "h5py": "tensorflow", "tf2onnx": "tensorflow",
    "onnx": "onnx", "onnxruntime": "onnx",
    "pyarrow": "parquet",
}  # fmt: skip
"""Package to the extra of `edge-toolkit` that installs it."""


def require(source: SourceFormat, targets: Iterable[Target]) -> None:
    """Raise ExtraMissing for the first package that a job needs and that is not installed."""
    needed: list[str] = []
    for target in targets:
        if source.is_keras:
            needed += ["tensorflow", "keras", "h5py"]
        if source is SourceFormat.ONNX or target.format is ModelFormat.ONNX:
            needed += ["onnx", "onnxruntime"]
        if source.is_keras and target.format is ModelFormat.ONNX:
            needed += ["tf2onnx"]
        if source is SourceFormat.TFLITE and target.answer_here and not installed("ai_edge_litert"):
            needed += ["tensorflow"]
    for package in needed:
        if not installed(package):
            raise ExtraMissing(package=package, extra=EXTRAS[package])


def installed(package: str) -> bool:
    """Whether `package` can be imported, found out without importing it."""
    return importlib.util.find_spec(package) is not None
