"""A board with one small model for each task, all of which see colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from agent.contract.manifest import Step, Task, TensorSpec
from agent.transforms.golden import GoldenSet
from tests.agent.boards import TestBoard

SIDE = 16
PIXELS = TensorSpec(name="pixels", dtype="float32", shape=(1, 3, SIDE, SIDE))
COLOURS = ("red", "green", "blue")
SQUEEZED = (
    Step("rgb"),
    Step("resize", {"height": SIDE, "width": SIDE, "method": "area"}),
    Step("scale", {"factor": 1 / 255, "offset": 0.0}),
    Step("layout", {"to": "NCHW"}),
    Step("expand", {"axis": 0}),
)
BOXED = (
    Step("rgb"),
    Step("letterbox", {"height": SIDE, "width": SIDE, "method": "area", "fill": 0}),
    *SQUEEZED[2:],
)
FOUND = np.array([[[4, 8, 8, 4], [4, 8, 8.5, 4], [12, 8, 4, 4], [2, 2, 1, 1]]], np.float32)
"""Boxes as centre and size, in pixels of the input."""
SURE = np.array([[[0.9, 0.0], [0.8, 0.0], [0.1, 0.7], [0.2, 0.1]]], np.float32)
READ = {"boxes": 0, "scores": 1, "classes": -1, "format": "cxcywh", "order": "boxes-first"}
TASKS: dict[Task, tuple[Step, ...]] = {
    Task.CLASSIFICATION: (Step("top-k", {"k": 2}),),
    Task.DETECTION: (
        Step("boxes", {**READ, "unit": "pixels", "objectness": False}),
        Step("nms", {"score": 0.5, "overlap": 0.5, "limit": 10}),
    ),
    Task.SEGMENTATION: (Step("argmax", {"axis": 0}),),
    Task.EMBEDDING: (Step("l2-normalize"),),
    Task.REGRESSION: (Step("scale", {"factor": 100.0, "offset": 0.0}),),
    Task.ANOMALY: (Step("reduce", {"by": "max"}), Step("threshold", {"at": 0.75})),
    Task.TENSOR: (),
}


def picture_board(root: Path) -> TestBoard:
    """The board; each model is named for its task."""
    board = TestBoard(root / "board")
    bundles = {}
    for task, steps in TASKS.items():
        file, outputs = _model(root, task)
        bundles[task.value] = board.bundle(
            name=task.value,
            model_file=file,
            golden=GoldenSet(inputs=(np.zeros((2, *PIXELS.shape[1:]), np.float32),)),
            inputs=[PIXELS],
            outputs=outputs,
            task=task,
            preprocessing=SQUEEZED if task is not Task.DETECTION and task is not Task.SEGMENTATION else BOXED,
            postprocessing=steps,
            labels=COLOURS,
        )
    bundles["digits"] = board.digits_onnx()
    board.generation(1, bundles)
    board.link("current", 1)
    return board


def _model(root: Path, task: Task) -> tuple[Path, list[TensorSpec]]:
    mean = helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0)
    if task is Task.SEGMENTATION:
        return _written(
            root, task, [helper.make_node("Identity", ["pixels"], ["map"])], {"map": PIXELS.shape}
        )
    if task is Task.DETECTION:
        nodes = [_constant("places", FOUND), _constant("sure", SURE)]
        return _written(root, task, nodes, {"places": FOUND.shape, "sure": SURE.shape})
    return _written(root, task, [mean], {"mean": (1, 3)})


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _written(
    root: Path, task: Task, nodes: Sequence[onnx.NodeProto], outputs: dict[str, tuple[int, ...]]
) -> tuple[Path, list[TensorSpec]]:
    def declared(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    graph = helper.make_graph(
        list(nodes),
        task.value,
        [declared("pixels", PIXELS.shape)],
        [declared(*item) for item in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = root / f"{task.value}.onnx"
    path.write_bytes(model.SerializeToString())
    return path, [TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in outputs.items()]
