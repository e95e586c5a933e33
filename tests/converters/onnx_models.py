"""ONNX models for tests, made without TensorFlow; the digits CNN has the trained weights of `digits.h5`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.conversion.digits import DATA

Array = np.ndarray


def model(
    nodes: list[Any],
    weights: dict[str, Array],
    *,
    shape: tuple[Any, ...] = ("batch", 6),
    out: tuple[Any, ...] = ("batch", 6),
    opset: int = 17,
    ir_version: int | None = None,
    functions: list[Any] | None = None,
    domains: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """Float32 `x` of `shape` to `y` of `out`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    made = helper.make_model(graph, opset_imports=imports, functions=functions or [])
    if ir_version is not None:
        made.ir_version = ir_version
    return made


def save(proto: onnx.ModelProto, path: Path) -> Path:
    onnx.save(proto, str(path))
    return path


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def digits_cnn(*, opset: int = 17, last: str = "Gemm") -> onnx.ModelProto:
    """The trained digits CNN: `[N, 8, 8, 1]` to ten probabilities; 97.4 % of the held-out digits are right."""
    with h5py.File(DATA / "digits.h5") as file:
        conv = file["model_weights/conv2d/sequential/conv2d"]
        dense = file["model_weights/digit/sequential/digit"]
        held = {
            "kernel": conv["kernel"][()].transpose(3, 2, 0, 1).copy(),
            "kernel_bias": conv["bias"][()],
            "dense": dense["kernel"][()],
            "dense_bias": dense["bias"][()],
        }
    make = helper.make_node
    nodes = [
        make("Transpose", ["x"], ["nchw"], name="in/Transpose", perm=[0, 3, 1, 2]),
        make("Conv", ["nchw", "kernel", "kernel_bias"], ["c"], name="conv2d/Conv", pads=[1, 1, 1, 1]),
        make("Relu", ["c"], ["r"], name="conv2d/Relu"),
        make("MaxPool", ["r"], ["p"], name="pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        make("Transpose", ["p"], ["nhwc"], name="out/Transpose", perm=[0, 2, 3, 1]),
        make("Flatten", ["nhwc"], ["f"], name="flatten/Flatten"),
    ]
    if last == "Gemm":
        nodes.append(make("Gemm", ["f", "dense", "dense_bias"], ["logits"], name="digit/Gemm"))
    else:
        nodes.append(make("MatMul", ["f", "dense"], ["product"], name="digit/MatMul"))
        nodes.append(make("Add", ["product", "dense_bias"], ["logits"], name="digit/Add"))
    nodes.append(make("Softmax", ["logits"], ["y"], name="digit/Softmax", axis=-1))
    return model(nodes, held, shape=("batch", 8, 8, 1), out=("batch", 10), opset=opset)


def counting_loop() -> onnx.ModelProto:
    """A loop whose body alone reads a float tensor from around it, and a weight: `y = 3 (x W) W`."""
    make, value = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [
            make("MatMul", ["h", "w"], ["hw"], name="body/MatMul"),
            make("Add", ["sum", "hw"], ["sum_out"], name="body/Add"),
            make("Identity", ["on"], ["on_out"], name="body/Identity"),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("on", TensorProto.BOOL, []),
            value("sum", TensorProto.FLOAT, ["batch", 6]),
        ],
        [value("on_out", TensorProto.BOOL, []), value("sum_out", TensorProto.FLOAT, ["batch", 6])],
    )
    nodes = [
        make("MatMul", ["x", "w"], ["h"], name="first/MatMul"),
        make("Loop", ["times", "go", "nothing"], ["looped"], name="loop/Loop", body=body),
        make("Identity", ["looped"], ["y"], name="end/Identity"),
    ]
    held = {
        "w": random(6, 6) / 3,
        "times": np.array(3, np.int64),
        "go": np.array(True),
        "nothing": np.zeros((1, 6), np.float32),
    }
    return model(nodes, held)
