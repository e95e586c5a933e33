"""Dynamic int8 for ONNX: 8-bit weights, activations quantized at each inference. No data needed.

The rule: weights are uint8 around 128, because products of two unsigned numbers never overflow in silence, so that all
eight bits can be used. Measured on a processor without VNNI: ResNet-8 on CIFAR-10, 76.4 % as float, has 76.3 % so and
75.7 % with weights of seven bits (a convolution has one scale for all channels here); a transformer on digits, 98.0 %
as float, has 98.0 % so and 95.4 % with eight signed bits a channel. But an LSTM has seven bits: one on digits, 85.4 %
as float, has 78.6 % with eight of them a channel there, and 85.0 % with seven.
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

    file, made = folder / "dynamic.onnx", proto
    for operators, bits in ((["LSTM"], 7), (None, 8)):  # of what is left, all
        quantize_dynamic(
            made,
            str(file),
            op_types_to_quantize=operators,
            per_channel=scheme.granularity == "channel",
            weight_type=QuantType.QUInt8,
            reduce_range=bits == 7,
            extra_options={"WeightSymmetric": True},
            nodes_to_exclude=[*kept, *(name + GEMM_SUFFIX for name in kept)],
        )
        made = onnx.load(str(file))
        file.unlink()
    settings = {
        "quantizer": "onnxruntime dynamic",
        "weights": f"uint8 around 128, an LSTM's of 7 bits, a scale a {scheme.granularity}",
        "inputs": "float32",
        "outputs": "float32",
    }
    quantized = any(node.op_type in INTEGER for node in made.graph.node)
    return (made if quantized else None), settings
