"""Weights of 4 bits in blocks for ONNX: ONNX Runtime's own operator MatMulNBits, activations float.

The rule: the opset stays what it is, because the packed weights are bytes and the operator has a domain of its own.
"""

from __future__ import annotations

from typing import Any

from converters.onnx_nodes import made_of
from converters.recipe import Scheme

OPERATOR = "MatMulNBits"


def to_int4(proto: Any, scheme: Scheme, kept: list[str]) -> Any | None:
    """A model whose products with constant matrices have 4-bit weights, or None where it has no such product.

    Args:
        proto: onnx.ModelProto, float, nodes named; it is changed.
        scheme: gives the block.
        kept: names of nodes that stay float.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(proto)
    model.replace_gemm_with_matmul()
    config = DefaultWeightOnlyQuantConfig(block_size=scheme.block, op_types_to_quantize=("MatMul",))
    quantizer = MatMulNBitsQuantizer(
        model.model, algo_config=config, nodes_to_exclude=made_of(model.model, proto, kept)
    )
    quantizer.process()
    made = quantizer.model.model
    return made if any(node.op_type == OPERATOR for node in made.graph.node) else None
