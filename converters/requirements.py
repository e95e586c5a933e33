"""Which engine versions load an artifact.

The rule: what was measured decides (files of each kind loaded in wheels of each version), not what the file says of
itself. An engine that is not named is not to be used.
"""

from __future__ import annotations

from pathlib import Path

from agent.contract.errors import ModelUnsupported
from converters.tflite_file import TFLiteFile

FULLY_CONNECTED = 9
LITERT = "1.0.0"
TFLITE_RUNTIME = "2.13.0"
FULLY_CONNECTED_OF_TFLITE_RUNTIME = 11
"""Newest version of that operator that tflite-runtime 2.14 has; it refuses 12."""

ONNXRUNTIME = (
    # newest opset, newest IR, least ONNX Runtime; measured with CPU wheels of each
    (19, 9, "1.15.0"),
    (20, 9, "1.17.0"),
    (21, 10, "1.18.0"),
    (22, 10, "1.22.0"),
    (23, 11, "1.23.0"),
    (28, 14, "1.32.0"),
)


def tflite_engines(file: TFLiteFile, path: Path) -> dict[str, str]:
    """Engine name to least version for a `.tflite`.

    Raises:
        ModelUnsupported: it holds operators that no engine of a board has.
    """
    if file.custom:
        raise ModelUnsupported(
            path=path.name,
            target="an artifact for boards",
            reason=f"it holds operators that are not built in: {', '.join(file.custom)}",
            way_out="convert it with built-in operators only",
        )
    engines = {"litert": LITERT, "tflite-runtime": TFLITE_RUNTIME}
    if any(
        "int4" in operator.types
        or (operator.code == FULLY_CONNECTED and operator.types.startswith("float32 int8/channel"))
        or (operator.code == FULLY_CONNECTED and operator.version > FULLY_CONNECTED_OF_TFLITE_RUNTIME)
        for operator in file.operators
    ):
        del engines["tflite-runtime"]
    return engines


def onnx_engines(opset: int, ir_version: int, path: Path) -> dict[str, str]:
    """Engine name to least version for an ONNX file.

    Raises:
        ModelUnsupported: it is newer than every ONNX Runtime that is known here.
    """
    for newest_opset, newest_ir, version in ONNXRUNTIME:
        if opset <= newest_opset and ir_version <= newest_ir:
            return {"onnxruntime": version}
    raise ModelUnsupported(
        path=path.name,
        target="an artifact for boards",
        reason=f"opset {opset} with IR {ir_version} is newer than ONNX Runtime {ONNXRUNTIME[-1][2]} takes",
        way_out="export it with opset 17",
    )
