"""Static int8 for ONNX: quantizers and dequantizers around float operators (QDQ), by ONNX Runtime's tools.

The rule: weights are 7-bit integers in int8; activations are uint8 on x86-64, where that is 1.5 to 2.2 times faster,
and int8 on arm64. For TensorRT everything is symmetric, weights stay float behind quantizers of their own and biases
stay float, because it builds its engine from that. Inputs and outputs are float.

Seven bits, because x86 processors without VNNI add pairs of products in 16 bits, which overflow in silence: measured
on one, a digits CNN lost 1.6 points with 8-bit weights and nothing with 7. It also makes the answers of the proof run
on such a laptop those that the board will give.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.manifest import TensorSpec
from converters import onnx_file
from converters.calibration.data import Data, evenly
from converters.job import MOST_CALIBRATION_SAMPLES
from converters.onnx_nodes import made_of
from converters.recipe import Scheme
from converters.repair.apply import repair_onnx
from converters.run_set import store

TYPES = {"int8": "QInt8", "uint8": "QUInt8", "int16": "QInt16"}
"""int16 makes the tool raise the file to opset 21, the first that has it."""
METHODS = {"min-max": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
WAYS: tuple[tuple[str, dict[str, bool] | None], ...] = (
    ("optimized, symbolic shapes", {}),
    ("optimized", {"skip_symbolic_shape": True}),
    ("shapes only", {"skip_symbolic_shape": True, "skip_optimization": True}),
    ("not at all", None),
)
"""How a model is prepared: the first of these that the tool manages."""
TENSORRT = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "QuantizeBias": False,
}


def to_static(
    proto: Any, scheme: Scheme, architecture: str, calibration: Data, folder: Path, kept: list[str]
) -> tuple[Any | None, dict[str, Any]]:
    """Quantize a model; None where none of its operators can be.

    Args:
        proto: onnx.ModelProto, float, nodes named.
        scheme: decides how.
        architecture: of the boards, where the scheme leaves the activations' type to the board.
        calibration: representative inputs.
        folder: for files in between; ranges that were found are kept there for the other targets of a job.
        kept: names of nodes that stay float.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    prepared, how = prepare(proto, folder)
    prepared = repair_onnx(prepared, scheme, calibration, onnx_file.inputs(proto), folder)
    activations = _activations(scheme, architecture)
    made = folder / "static.onnx"
    quantize_static(
        str(prepared),
        str(made),
        _Reader(calibration, onnx_file.inputs(proto)),
        quant_format=QuantFormat.QDQ,
        per_channel=scheme.granularity == "channel",
        activation_type=QuantType[TYPES[activations]],
        weight_type=QuantType.QInt8,
        reduce_range=True,
        nodes_to_exclude=made_of(onnx.load(str(prepared)), proto, kept),
        calibrate_method=CalibrationMethod[METHODS[scheme.calibration]],
        calibration_cache_path=prepared.with_suffix(f".{scheme.calibration}-{calibration.sha256[:16]}.json"),
        extra_options=dict(TENSORRT if scheme.symmetric else {}),
    )
    quantized = onnx.load(str(made))
    made.unlink()
    settings = {
        "quantizer": "onnxruntime static QDQ",
        "prepared": how,
        "weights": f"int8 of 7 bits, a scale a {scheme.granularity}",
        "activations": f"{activations}, {'symmetric, ' if scheme.symmetric else ''}a scale a tensor",
        "inputs": "float32",
        "outputs": "float32",
    }
    found = any(node.op_type == "DequantizeLinear" for node in quantized.graph.node)
    return (quantized if found else None), settings


def _activations(scheme: Scheme, architecture: str) -> str:
    if scheme.activations == "board":
        return "int8" if architecture == "aarch64" else "uint8"
    return scheme.activations


class _Reader:
    """ONNX Runtime's CalibrationDataReader over the calibration data, one sample at a time."""

    def __init__(self, calibration: Data, specs: Sequence[TensorSpec]) -> None:
        self._samples = self._read(calibration, specs)

    @staticmethod
    def _read(calibration: Data, specs: Sequence[TensorSpec]) -> Iterator[dict[str, Any]]:
        for index in evenly(calibration.samples, MOST_CALIBRATION_SAMPLES):
            yield {
                spec.name: np.ascontiguousarray(store(array, spec))
                for array, spec in zip(calibration.sample(int(index)), specs, strict=True)
            }

    def get_next(self) -> dict[str, Any] | None:
        """The next sample, or None."""
        return next(self._samples, None)


def prepare(proto: Any, folder: Path) -> tuple[Path, str]:
    """Fold constants and infer shapes as far as the tools manage it: symbolic, then without, then shapes alone.

    Args:
        proto: onnx.ModelProto, float.
        folder: the file is kept there under the digest of what it was made from.

    Returns:
        The file, and which of the ways led to it.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    data = proto.SerializeToString(deterministic=True)
    digest = hashlib.sha256(data).hexdigest()[:16]
    folder = folder.resolve()
    given = folder / f"prepared-{digest}.onnx"
    given.write_bytes(data)
    for number, (how, options) in enumerate(WAYS):
        path = folder / f"prepared-{digest}-{number}.onnx"
        if path.exists() or options is None:
            break
        try:
            with contextlib.chdir(folder):  # where it fails, it writes what it had to the current folder
                quant_pre_process(str(given), str(path), **options)
        except Exception as error:  # it raises plain Exception, for which the next way is the cure
            path.unlink(missing_ok=True)
            print(f"quant_pre_process, {how}: {error}")
            continue
        _flatten_biases(path)
        break
    return (path if path.exists() else given), how


def _flatten_biases(path: Path) -> None:
    """Make `[1, N]` biases of Gemm `[N]`: ONNX Runtime's quantizer fails on the former (`truth value of an array`)."""
    import onnx

    proto = onnx.load(str(path))
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    uses = [name for node in proto.graph.node for name in node.input]
    for node in proto.graph.node:
        bias = constants.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is not None and len(bias.dims) == 2 and bias.dims[0] == 1 and uses.count(bias.name) == 1:
            del bias.dims[0]
    onnx.save(proto, str(path))
