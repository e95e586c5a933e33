"""A detector whose answers are known: red and green squares that fill cells of a grid of 4 × 4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.transforms.photos import encoded

CELLS, SIDE = 4, 32
CELL = SIDE // CELLS
PIPELINE = f"""
task = "detection"

[[preprocessing]]
step = "rgb"

[[preprocessing]]
step = "resize"
height = {SIDE}
width = {SIDE}
method = "area"

[[preprocessing]]
step = "scale"
factor = 0.00392156862745098
offset = 0

[[preprocessing]]
step = "layout"
to = "NCHW"

[[postprocessing]]
step = "boxes"
boxes = 0
scores = 1
classes = -1
format = "xyxy"
order = "boxes-first"
unit = "fraction"
objectness = false

[[postprocessing]]
step = "nms"
score = 0.3
overlap = 0.5
limit = 20
"""


def detector_onnx(path: Path) -> Path:
    """Float32 `x` `[N, 3, 32, 32]`, 0 to 1, to `boxes` `[N, 16, 4]` in fractions and `scores` `[N, 16, 2]`."""
    places = np.arange(CELLS * CELLS)
    left, top = places % CELLS / CELLS, places // CELLS / CELLS
    anchors = np.stack([left, top, left + 1 / CELLS, top + 1 / CELLS], axis=1).astype(np.float32)[None]
    colours = np.array([[1, -1, -1], [-1, 1, -1]], np.float32) / CELL**2
    kernel = np.broadcast_to(colours[:, :, None, None], (2, 3, CELL, CELL)).copy()
    held = {
        "kernel": kernel,
        "anchors": anchors,
        "flat": np.array([0, 2, CELLS * CELLS], np.int64),
        "nothing": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["map"], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["map", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[2], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["anchors", "zero"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, SIDE, SIDE))],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ("batch", CELLS * CELLS, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("batch", CELLS * CELLS, 2)),
        ],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def photos(folder: Path, count: int) -> Path:
    """Pictures of 64 × 96 pixels with one to three squares each, the last with none, and their table."""
    random = np.random.default_rng(0)
    rows, height, width = ["file,class,left,top,right,bottom"], 64, 96
    folder.mkdir()
    for number in range(count):
        picture = np.zeros((height, width, 3), np.uint8)
        chosen = random.choice(CELLS * CELLS, random.integers(1, 4), replace=False)
        for place in chosen if number < count - 1 else ():
            kind, row, column = int(random.integers(2)), int(place) // CELLS, int(place) % CELLS
            left, top = column * width // CELLS, row * height // CELLS
            right, bottom = left + width // CELLS, top + height // CELLS
            picture[top:bottom, left:right, kind] = 250
            rows.append(f"{number:03}.png,{kind},{left},{top},{right},{bottom}")
        (folder / f"{number:03}.png").write_bytes(encoded(picture, "PNG"))
    rows.append(f"{count - 1:03}.png,,,,,")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder
