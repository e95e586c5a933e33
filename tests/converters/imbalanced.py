"""A depthwise net on the handwritten digits whose channels have ranges that differ by orders of magnitude.

Its convolutions are random and its last layer is fitted, so that it takes a moment to make and needs no TensorFlow.
Then the output channels of each layer are multiplied by exp(N(0, 1.5)) and what reads them is divided by the same:
through ReLU the function stays what it was, while one scale a tensor, and even one a channel, loses it in 8 bits.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SPREAD = 1.5
LAYERS = ("stem", "depthwise", "pointwise", "digit")
Weights = dict[str, tuple[np.ndarray, np.ndarray]]


def imbalanced(
    path: Path, x: np.ndarray, y: np.ndarray, *, spread: float = SPREAD, limit: float | None = None
) -> Path:
    """Write the net as ONNX; input float32 `[N, 1, 8, 8]`, ten scores.

    Args:
        path: to write.
        x: training samples `[N, 8, 8, 1]`.
        y: their classes.
        spread: deviation of the logarithm of the factors; 0 leaves it balanced.
        limit: upper end of each activation, as in ReLU6, through which no factor goes: the channels become uneven
            before the last layer is fitted; None is ReLU.
    """
    import onnxruntime

    random = np.random.default_rng(3)
    shapes = {"stem": (12, 1, 3, 3), "depthwise": (12, 1, 3, 3), "pointwise": (24, 12, 1, 1)}
    weights: Weights = {
        name: (
            (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32),
            random.normal(size=shape[0], scale=0.1).astype(np.float32),
        )
        for name, shape in shapes.items()
    }
    if limit is not None:
        _unbalance(weights, random, spread, LAYERS[:3])
    images = x.transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(_proto(weights, limit).SerializeToString())
    features = session.run(None, {"image": images})[0]
    ones = np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1).astype(np.float64)
    wanted = np.eye(10)[y]
    fitted = np.linalg.solve(ones.T @ ones + 1e-2 * np.eye(ones.shape[1]), ones.T @ wanted)
    weights["digit"] = (fitted[:-1].T.astype(np.float32), fitted[-1].astype(np.float32))
    if limit is None:
        _unbalance(weights, random, spread, LAYERS)
    onnx.save(_proto(weights, limit), str(path))
    return path


def _unbalance(weights: Weights, random: np.random.Generator, spread: float, layers: tuple[str, ...]) -> None:
    for first, second in itertools.pairwise(layers):
        weight, bias = weights[first]
        factors = np.exp(random.normal(0, spread, len(bias))).astype(np.float32)
        weights[first] = (weight * factors.reshape(-1, 1, 1, 1), bias * factors)
        reads, after = weights[second]
        if second == "depthwise":
            reads = reads / factors.reshape(-1, 1, 1, 1)
        elif second == "pointwise":
            reads = reads / factors.reshape(1, -1, 1, 1)
        else:
            reads = reads / np.repeat(factors, reads.shape[1] // len(factors))
        weights[second] = (reads, after)


def _proto(weights: Weights, limit: float | None) -> onnx.ModelProto:
    """The net as far as there are weights: without a last layer it ends in the features."""
    nodes, constants, before = [], [], "image"
    for name, settings in (
        ("stem", {"pads": [1] * 4}),
        ("depthwise", {"pads": [1] * 4, "strides": [2, 2], "group": 12}),
        ("pointwise", {}),
    ):
        nodes.append(
            helper.make_node("Conv", [before, f"{name}_w", f"{name}_b"], [name], name=name, **settings)
        )
        kind, limits = ("Relu", []) if limit is None else ("Clip", ["zero", "limit"])
        nodes.append(helper.make_node(kind, [name, *limits], [f"{name}_active"], name=f"{name}_active"))
        before = f"{name}_active"
    nodes.append(helper.make_node("Flatten", [before], ["features"], name="flatten"))
    last = "features"
    if "digit" in weights:
        nodes.append(
            helper.make_node("Gemm", ["features", "digit_w", "digit_b"], ["digit"], name="digit", transB=1)
        )
        last = "digit"
    for name, (weight, bias) in weights.items():
        constants += [
            numpy_helper.from_array(weight, f"{name}_w"),
            numpy_helper.from_array(bias, f"{name}_b"),
        ]
    if limit is not None:
        constants += [
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(limit), "limit"),
        ]
    count = 10 if last == "digit" else 24 * 16
    graph = helper.make_graph(
        nodes,
        "imbalanced",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", count])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
