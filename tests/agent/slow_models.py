"""Models that take their time, made for tests, and models that tell who is run with whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from agent.contract.manifest import TensorSpec

INPUTS = [TensorSpec(name="x", dtype="float32", shape=(-1, 64))]
OUTPUTS = [TensorSpec(name="y", dtype="float32", shape=(-1, 64))]


def write_slow(path: Path, *, layers: int, width: int = 1024) -> Path:
    """A chain of products with one large matrix: the time goes into reading it, however many samples there are."""
    rng = np.random.default_rng(7)
    weights = {
        "into": rng.standard_normal((64, width)) / 8,
        "within": rng.standard_normal((width, width)) / np.sqrt(width),
        "out": rng.standard_normal((width, 64)) / np.sqrt(width),
    }
    nodes = [helper.make_node("MatMul", ["x", "into"], ["h0"])]
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [f"h{layer}", "within"], [f"m{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"h{layer + 1}"]))
    nodes.append(helper.make_node("MatMul", [f"h{layers}", "out"], ["y"]))
    return _write(path, nodes, weights, ["n", 64])


def write_mixing(path: Path) -> Path:
    """A model that subtracts the batch's mean: what a sample gets depends on its company."""
    axes = np.array([0], np.int64)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _write(path, nodes, {"axes": axes}, ["n", 64])


def write_gathering(path: Path) -> tuple[Path, list[TensorSpec]]:
    """A model that looks its 64 numbers up in a table of ten: the engine fails on any other."""
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    table = {"table": np.arange(10, dtype=np.float32)}
    inputs = [TensorSpec(name="x", dtype="int64", shape=(-1, 64))]
    return _write(path, nodes, table, ["n", 64], TensorProto.INT64), inputs


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: list[str | int],
    dtype: int = TensorProto.FLOAT,
) -> Path:
    tensors = [
        numpy_helper.from_array(value.astype(np.float32) if value.dtype.kind == "f" else value, name)
        for name, value in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
