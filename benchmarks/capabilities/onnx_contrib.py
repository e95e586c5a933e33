"""Nodes that quantizers and converters write and the standard's examples lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT, LEARNING = "com.microsoft", "ai.onnx.ml"
TYPES = (
    "float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool",
)  # fmt: skip
QUANTIZED = ("uint8", "int8", "uint16", "int16")
CHANGES = (7, 9, 10, 11, 12, 13, 19, 21, 23, 24, 25, 28)
"""Opsets in which what is made here was changed."""

Made = tuple[Any, list[NDArray[Any]], list[int], int]
"""A node, one array an input, the element type of each output, and the opset of the node's domain."""


def nodes() -> Iterator[Made]:
    """Every one of them; some are not of the opset that they are tried in, and are left out later."""
    yield from _casts()
    yield from _constants()
    yield from _quantizers()
    yield from _matmul_nbits()
    yield from _integers()
    yield from _fused()
    yield from _learned()


def made(
    name: str,
    arrays: Sequence[Any],
    outputs: Sequence[str],
    opset: int = 1,
    domain: str = "",
    /,
    **attributes: Any,
) -> Made:
    """A node `name` with these arrays as inputs, outputs of these dtypes, in that opset of its domain."""
    given = [np.asarray(array) for array in arrays]
    node = helper.make_node(
        name,
        [f"i{k}" for k in range(len(given))],
        [f"o{k}" for k in range(len(outputs))],
        domain=domain,
        **attributes,
    )
    return node, given, [_element(kind) for kind in outputs], opset


def _element(kind: str) -> int:
    return int(TensorProto.STRING) if kind == "str" else int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


def _casts() -> Iterator[Made]:
    for opset in CHANGES:
        for kind in TYPES:
            for to in TYPES:
                number = _element(to)
                yield made("Cast", [np.arange(6).astype(kind)], [to], opset, to=number)


def _constants() -> Iterator[Made]:
    for opset in CHANGES:
        for kind in TYPES:
            value = numpy_helper.from_array(np.ones(1, kind))
            yield made("Constant", [], [kind], opset, value=value)
            yield made("ConstantOfShape", [np.array([2, 3], np.int64)], [kind], opset, value=value)


def _quantizers() -> Iterator[Made]:
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    for domain, opset in (*(("", opset) for opset in CHANGES), (MICROSOFT, 1)):
        for kind in QUANTIZED:
            for scale in (np.float32(0.01), np.full(3, 0.01, np.float32)):
                axis = {"axis": 1} if np.ndim(scale) and (domain or opset >= 13) else {}
                point = np.zeros_like(scale, dtype=kind)
                yield made("QuantizeLinear", [x, scale, point], [kind], opset, domain, **axis)
                for dtype in (kind, "int32"):
                    stored = (np.abs(x) * 100).astype(dtype)
                    given = [stored, scale, point.astype(dtype)]
                    yield made("DequantizeLinear", given, ["float32"], opset, domain, **axis)
                    yield made("DequantizeLinear", given[:2], ["float32"], opset, domain, **axis)


def _matmul_nbits() -> Iterator[Made]:
    random = np.random.default_rng(0)
    columns, depth = 8, 128
    x = random.standard_normal((2, depth)).astype(np.float32)
    for block in (16, 32, 64, 128):
        blocks = depth // block
        packed = random.integers(0, 256, (columns, blocks, block // 2), dtype=np.uint8)
        scales = random.random(columns * blocks).astype(np.float32) / 8
        points = np.full(columns * ((blocks + 1) // 2), 0x88, np.uint8)
        for level in (0, 4):
            shape = {"K": depth, "N": columns, "bits": 4, "block_size": block, "accuracy_level": level}
            for kind in ("float32", "float16"):
                given = [x.astype(kind), packed, scales.astype(kind)]
                yield made("MatMulNBits", given, [kind], 1, MICROSOFT, **shape)
                yield made("MatMulNBits", [*given, points], [kind], 1, MICROSOFT, **shape)


def _integers() -> Iterator[Made]:
    """What ONNX Runtime's quantizers write where they are not asked for QDQ."""
    scale = np.float32(0.1)
    for kind in ("uint8", "int8"):
        point = np.asarray(3).astype(kind)
        image = [np.arange(24).reshape(1, 2, 3, 4).astype(kind), scale, point]
        out = [scale, point]
        for name in ("QLinearAdd", "QLinearMul"):
            yield made(name, [*image, *image, *out], [kind], 1, MICROSOFT)
        for name, attributes in (
            ("QLinearSigmoid", {}),
            ("QLinearLeakyRelu", {"alpha": 0.1}),
            ("QLinearGlobalAveragePool", {"channels_last": 0}),
            ("QLinearAveragePool", {"kernel_shape": [2, 2]}),
            ("QLinearSoftmax", {"axis": -1, "opset": 13}),
        ):
            yield made(name, [*image, *out], [kind], 1, MICROSOFT, **attributes)
        yield made("QLinearConcat", [*out, *image, *image], [kind], 1, MICROSOFT, axis=1)
        for scales in (scale, np.full(3, 0.1, np.float32)):
            filters = np.arange(6).reshape(3, 2, 1, 1).astype(np.int8)
            weights = [filters, scales, np.zeros_like(scales, dtype=np.int8)]
            bias = np.arange(3).astype(np.int32)
            yield made("QLinearConv", [*image, *weights, *out], [kind], 10)
            yield made("QLinearConv", [*image, *weights, *out, bias], [kind], 10)
        matrix = [np.arange(12).reshape(3, 4).astype(kind), scale, point]
        columns = [
            np.arange(8).reshape(4, 2).astype(np.int8),
            np.full(2, 0.1, np.float32),
            np.zeros(2, np.int8),
        ]
        yield made("QGemm", [*matrix, *columns, np.arange(2).astype(np.int32), *out], [kind], 1, MICROSOFT)
        yield made("QLinearMatMul", [*matrix, *columns, *out], [kind], 10)
        yield made("QLinearMatMul", [*matrix, *columns, *out], [kind], 21)
        yield made("MatMulInteger", [matrix[0], columns[0], point, np.int8(0)], ["int32"], 10)
        yield made("MatMulInteger", [matrix[0], columns[0], point], ["int32"], 10)
        yield made(
            "ConvInteger", [image[0], np.ones((3, 2, 1, 1), np.int8), point, np.int8(0)], ["int32"], 10
        )
        yield made("ConvInteger", [image[0], np.ones((3, 2, 1, 1), np.int8), point], ["int32"], 10)


def _fused() -> Iterator[Made]:
    """What its optimizer writes."""
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    weights = [np.arange(8).reshape(4, 2).astype(np.int8), np.float32(0.1), np.int8(0)]
    yield made("DynamicQuantizeMatMul", [x, *weights], ["float32"], 1, MICROSOFT)
    yield made("FusedMatMul", [x, x.T.copy()], ["float32"], 1, MICROSOFT)
    for name in ("Gelu", "QuickGelu", "FastGelu"):
        yield made(name, [x], ["float32"], 1, MICROSOFT)
    bias = np.ones(4, np.float32)
    yield made("BiasGelu", [x, bias], ["float32"], 1, MICROSOFT)
    image, filters = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 1, 1), np.float32)
    yield made("FusedConv", [image, filters], ["float32"], 1, MICROSOFT, activation="Relu")
    yield made(
        "FusedGemm", [x, x.T.copy(), np.ones(3, np.float32)], ["float32"], 1, MICROSOFT, activation="Relu"
    )


def _learned() -> Iterator[Made]:
    """What scikit-learn's models become."""
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    line = {"coefficients": [0.1, 0.2, 0.3, -0.1, 0.2, 0.1], "intercepts": [0.1, -0.1]}
    machine = {
        "coefficients": [1.0, -1.0], "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0], "rho": [0.1],
        "support_vectors": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    }  # fmt: skip
    tree = {
        "nodes_treeids": [0] * 3, "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0] * 3,
        "nodes_values": [0.1, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
    }  # fmt: skip
    leaves = {
        "class_treeids": [0, 0],
        "class_nodeids": [1, 2],
        "class_ids": [0, 1],
        "class_weights": [1.0, 1.0],
    }
    targets = {
        "n_targets": 1, "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
    }  # fmt: skip
    labels, words = {"classlabels_ints": [0, 1]}, {"classlabels_strings": ["no", "yes"]}
    for kind in ("float32", "float64", "int64"):
        rows = [(x * 4).astype(kind)]
        for named, label in ((labels, "int64"), (words, "str")):
            yield made("LinearClassifier", rows, [label, "float32"], 1, LEARNING, **line, **named)
            yield made(
                "SVMClassifier",
                rows,
                [label, "float32"],
                1,
                LEARNING,
                vectors_per_class=[1, 1],
                **machine,
                **named,
            )
            trees = {key.replace("_ints", "_int64s"): value for key, value in named.items()}
            for opset in (1, 3):
                yield made(
                    "TreeEnsembleClassifier",
                    rows,
                    [label, "float32"],
                    opset,
                    LEARNING,
                    **tree,
                    **leaves,
                    **trees,
                )
        for opset in (1, 3):
            yield made("TreeEnsembleRegressor", rows, ["float32"], opset, LEARNING, **tree, **targets)
        yield made("LinearRegressor", rows, ["float32"], 1, LEARNING, targets=2, **line)
        yield made("SVMRegressor", rows, ["float32"], 1, LEARNING, n_supports=2, **machine)
        yield made("Scaler", rows, ["float32"], 1, LEARNING, offset=[0.1] * 3, scale=[2.0] * 3)
        yield made("Normalizer", rows, ["float32"], 1, LEARNING, norm="L2")
        yield made("Binarizer", rows, [kind], 1, LEARNING, threshold=0.5)
        yield made("ArrayFeatureExtractor", [*rows, np.array([1])], [kind], 1, LEARNING)
        yield made("FeatureVectorizer", rows, ["float32"], 1, LEARNING, inputdimensions=[3])
        yield made("Imputer", rows, [kind], 1, LEARNING, imputed_value_floats=[0.5], replaced_value_float=0.0)
    for opset in (2, 4):
        numbers = {"keys_int64s": [0, 1], "values_int64s": [5, 6], "default_int64": -1}
        yield made("LabelEncoder", [np.array([0, 1])], ["int64"], opset, LEARNING, **numbers)
    yield made("OneHotEncoder", [np.array([0, 2])], ["float32"], 1, LEARNING, cats_int64s=[0, 1, 2], zeros=1)
