"""Dynamic int8 for ONNX: 8-bit weights, activations quantized at each inference. No data needed.

The rule: weights are 7-bit integers, as in `converters.onnx_static` and for its reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.recipe import Scheme

GEMM_SUFFIX = "_MatMul"
"""The tool makes a MatMul of that name of each Gemm, before it looks which nodes are left out."""
INTEGER = {"MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "DequantizeLinear", "QAttention"}


def to_dynamic(
    proto: Any, scheme: Scheme, folder: Path, kept: list[str]
) -> tuple[Any | None, dict[str, Any]]:
    """Quantize a model; None where none of its operators can be.

    Args:
        proto: onnx.ModelProto, float, nodes named.
        scheme: gives the granularity.
        folder: for files in between.
        kept: names of nodes that stay float.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = folder / "dynamic.onnx"
    quantize_dynamic(
        proto,
        str(file),
        per_channel=scheme.granularity == "channel",
        reduce_range=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[*kept, *(name + GEMM_SUFFIX for name in kept)],
    )
    made = onnx.load(str(file))
    file.unlink()
    settings = {
        "quantizer": "onnxruntime dynamic",
        "weights": f"int8 of 7 bits, a scale a {scheme.granularity}",
        "inputs": "float32",
        "outputs": "float32",
    }
    quantized = any(node.op_type in INTEGER for node in made.graph.node)
    return (made if quantized else None), settings
