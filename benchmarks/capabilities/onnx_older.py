"""Nodes as older opsets wrote them, with attributes where newer ones have inputs, and loops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto, helper

from benchmarks.capabilities.onnx_contrib import TYPES, Made, made

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
LOOPS = (7, 11, 13, 16, 19, 21, 23, 24, 25)
"""Opsets in which loops were changed."""


def nodes() -> Iterator[Made]:
    """Every one of them."""
    for kind in TYPES:
        x = (np.arange(16) + 1).reshape(1, 2, 2, 4).astype(kind)
        for opset in (7, 11, 13):
            for name in REDUCTIONS:
                yield made(name, [x], [kind], opset, axes=[2, 3], keepdims=1)
        for opset in (7, 11):
            yield made("Squeeze", [x], [kind], opset, axes=[0])
            yield made("Unsqueeze", [x], [kind], opset, axes=[0])
        yield made("Slice", [x], [kind], 7, axes=[3], starts=[1], ends=[3])
        yield made("Pad", [x], [kind], 7, mode="constant", pads=[0, 0, 1, 1, 0, 0, 1, 1])
        yield made("Clip", [x], [kind], 7, min=2.0, max=9.0)
        yield made("TopK", [x], [kind, "int64"], 7, k=2)
        yield made("Upsample", [x], [kind], 7, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
        yield made("DepthToSpace", [np.tile(x, (1, 2, 1, 1))], [kind], 7, blocksize=2)
        scales = np.array([1, 1, 2, 2], np.float32)
        for mode in ("nearest", "linear"):
            yield made("Resize", [x, scales], [kind], 10, mode=mode)
            yield made("Resize", [x, np.zeros(0, np.float32), scales], [kind], 11, mode=mode)
        grid = np.zeros((1, 2, 2, 2), np.float32)
        yield made("GridSample", [x, grid], [kind], 16, mode="bilinear")
    yield from _loops()


def _loops() -> Iterator[Made]:
    """A sum that goes round three times."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "before"], ["after"]),
            helper.make_node("Identity", ["on"], ["go"]),
        ],
        "body",
        [
            value("round", TensorProto.INT64, []),
            value("on", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, [2]),
        ],
        [value("go", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [2])],
    )
    for opset in LOOPS:
        arrays = [np.asarray(np.int64(3)), np.asarray(True), np.ones(2, np.float32)]
        yield made("Loop", arrays, ["float32"], opset, body=body)
