"""What is served: an MLP of 64 numbers and a convolutional net of 3 × 96 × 96, as ONNX and as TFLite.

The weights are random, always the same: what is measured does not depend on them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

MLP_SHAPE = [1, 64]
CONV_SHAPE = [1, 3, 96, 96]
CONV_SHAPE_TFLITE = [1, 96, 96, 3]
FILTERS = (16, 32, 64)


def make_models(folder: Path) -> None:
    """Write `mlp.onnx`, `conv.onnx`, `mlp.tflite` and `conv.tflite`."""
    mlp_onnx(folder / "mlp.onnx")
    conv_onnx(folder / "conv.onnx")
    make_tflite(folder)


def mlp_onnx(path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    chance = np.random.default_rng(0)
    weights = {"w0": (64, 32), "b0": (32,), "w1": (32, 10), "b1": (10,)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(chance.normal(size=s).astype(np.float32), n) for n, s in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def conv_onnx(path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    chance = np.random.default_rng(0)
    nodes, weights, value, channels = [], [], "x", 3
    for place, filters in enumerate(FILTERS):
        kernel = chance.normal(size=(filters, channels, 3, 3), scale=0.1).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{place}"))
        nodes += [
            helper.make_node(
                "Conv", [value, f"w{place}"], [f"c{place}"], strides=[2, 2], pads=[1] * 4, kernel_shape=[3, 3]
            ),
            helper.make_node("Relu", [f"c{place}"], [f"r{place}"]),
        ]
        value, channels = f"r{place}", filters
    last = chance.normal(size=(channels, 10)).astype(np.float32)
    weights.append(numpy_helper.from_array(last, "last"))
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 96, 96])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def make_tflite(folder: Path) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    mlp = keras.Sequential(
        [keras.Input([64]), layers.Dense(32, "relu"), layers.Dense(10, "softmax")], name="mlp"
    )
    convolutions = [
        layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu") for filters in FILTERS
    ]
    conv = keras.Sequential(
        [keras.Input([96, 96, 3]), *convolutions, layers.GlobalAveragePooling2D(), layers.Dense(10)],
        name="conv",
    )
    for model in (mlp, conv):
        converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        (folder / f"{model.name}.tflite").write_bytes(converted)


if __name__ == "__main__":
    import sys

    make_models(Path(sys.argv[1]))
