"""Static int8 for ONNX: quantizers and dequantizers around float operators (QDQ), by ONNX Runtime's tools.

The rule: weights are 7-bit integers in int8 with a scale a channel; activations are uint8 on x86-64, where that is 1.5
to 2.2 times faster, and int8 on arm64. The file keeps opset 17 and IR 8 and its float inputs and outputs.

Seven bits, because x86 processors without VNNI add pairs of products in 16 bits, which overflow in silence: measured
on one, a digits CNN lost 1.6 points with 8-bit weights and nothing with 7. It also makes the answers of the proof run
on such a laptop those that the board will give.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import ModelUnsupported
from converters.calibration.data import Data, evenly
from converters.job import MOST_CALIBRATION_SAMPLES, Target
from converters.run_set import store

LEAST_OPSET = 13
"""The first that has a scale a channel."""


def quantize(
    proto: Any, target: Target, calibration: Data, folder: Path, *, inputs: Any, source: Path
) -> tuple[Any, dict[str, Any]]:
    """Quantize a model.

    Args:
        proto: onnx.ModelProto, float.
        target: decides the integer types by its architecture.
        calibration: representative inputs.
        folder: for files in between.
        inputs: specs of the model's inputs.
        source: the model that was given, for the sentence of an error.

    Returns:
        The quantized model, and the settings as data.

    Raises:
        ModelUnsupported: its opset is too old and can't be raised, or the tools refuse it.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from converters.onnx_file import IR_VERSION, OPSET, opset

    if opset(proto) < LEAST_OPSET:
        raise ModelUnsupported(
            path=source,
            target=target.title,
            reason=f"its opset {opset(proto)} has no scales a channel",
            way_out=f"export it with opset {OPSET}",
        )
    logging.disable(logging.WARNING)
    prepared, how = _prepare(proto, folder / f"{target.key}.prepared.onnx")
    activations = QuantType.QInt8 if target.architecture == "aarch64" else QuantType.QUInt8
    made = folder / f"{target.key}.quantized.onnx"
    try:
        quantize_static(
            str(prepared),
            str(made),
            _Reader(calibration, inputs[0]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
    except Exception as error:  # the tools raise plain exceptions of every kind
        reason = " ".join(str(error).split())[:300]
        raise ModelUnsupported(
            path=source,
            target=target.title,
            reason=f"ONNX Runtime's quantizer says: {reason}",
            way_out="try recipe fp32",
        ) from error
    quantized = onnx.load(str(made))
    if opset(quantized) <= OPSET:
        quantized.ir_version = IR_VERSION
    prepared.unlink()
    made.unlink()
    count = sum(node.op_type == "DequantizeLinear" for node in quantized.graph.node)
    if not count:
        raise ModelUnsupported(
            path=source,
            target=target.title,
            reason="none of its operators can be quantized",
            way_out="use fp32",
        )
    return quantized, {
        "quantizer": "onnxruntime static QDQ",
        "prepared": how,
        "weights": "int8 of 7 bits, a scale a channel",
        "activations": f"{'int8' if activations is QuantType.QInt8 else 'uint8'}, a scale a tensor",
        "inputs": "float32",
        "outputs": "float32",
    }


class _Reader:
    """ONNX Runtime's CalibrationDataReader over the calibration data, one sample at a time."""

    def __init__(self, calibration: Data, spec: Any) -> None:
        self._samples = self._read(calibration, spec)

    @staticmethod
    def _read(calibration: Data, spec: Any) -> Iterator[dict[str, Any]]:
        for index in evenly(calibration.samples, MOST_CALIBRATION_SAMPLES):
            sample: Any = store(calibration.x[index : index + 1], spec)
            yield {spec.name: np.ascontiguousarray(sample)}

    def get_next(self) -> dict[str, Any] | None:
        """The next sample, or None."""
        return next(self._samples, None)


def _prepare(proto: Any, path: Path) -> tuple[Path, str]:
    """Fold and infer shapes as far as the tools manage it: symbolic, then without, then the model as it is."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given = path.with_suffix(".given.onnx")
    onnx.save(proto, str(given))
    try:
        for how, options in (
            ("optimized, symbolic shapes", {}),
            ("optimized", {"skip_symbolic_shape": True}),
            ("shapes only", {"skip_symbolic_shape": True, "skip_optimization": True}),
        ):
            try:
                quant_pre_process(str(given), str(path), **options)
            except Exception as error:  # it raises plain Exception, for which the next way is the cure
                print(f"quant_pre_process, {how}: {error}")
                continue
            _flatten_biases(path)
            return path, how
        onnx.save(proto, str(path))
        return path, "not at all"
    finally:
        given.unlink()


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
