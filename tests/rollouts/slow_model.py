"""The digits model with a net beside it that costs milliseconds and changes nothing that can be seen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

WIDTH = 1024
TINY = 1e-12


def make_slow(source: Path, target: Path, *, layers: int = 4) -> Path:
    """Write `source` with `layers` multiplications of 1024 × 1024 beside it."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    give, take = graph.output[0].name, graph.input[0].name
    for node in graph.node:
        node.output[:] = ["right" if name == give else name for name in node.output]
    random = np.random.default_rng(1)
    sizes = [64, *([WIDTH] * layers), 10]
    last = take
    for number, (rows, columns) in enumerate(pairwise(sizes)):
        weights = random.normal(0, 1 / np.sqrt(rows), (rows, columns)).astype(np.float32)
        if columns == 10:
            weights *= TINY
        graph.initializer.append(numpy_helper.from_array(weights, f"slow-{number}"))
        graph.node.append(helper.make_node("MatMul", [last, f"slow-{number}"], [f"beside-{number}"]))
        last = f"beside-{number}"
    graph.node.append(helper.make_node("Add", ["right", last], [give]))
    onnx.save(model, str(target))
    return target
