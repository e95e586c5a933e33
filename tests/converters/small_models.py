"""Small models for tests: made by this file on first use, in seconds, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 4
FEATURES = 6


def classifier_onnx(path: Path, *, opset: int = 17, ir_version: int = 8, softmax: bool = True) -> Path:
    """A linear classifier: float32 `[N, 6]` to `[N, 4]`, the class being the place of the largest of four features."""
    weights = np.zeros((FEATURES, CLASSES), np.float32)
    weights[:CLASSES] = 4 * np.eye(CLASSES, dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logits"])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("y" if softmax else "logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weights, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    onnx.save(proto, str(path))
    return path


def samples(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the classifier, values 0 to 1, with their classes."""
    x = np.random.default_rng(seed).random((count, FEATURES), dtype=np.float32)
    return x, np.argmax(x[:, :CLASSES], axis=1).astype(np.int64)


def data(path: Path, count: int, *, seed: int = 0, labelled: bool = True) -> Path:
    """A data file for the classifier."""
    x, y = samples(count, seed=seed)
    np.savez(path, x=x, **({"y": y} if labelled else {}))
    return path
