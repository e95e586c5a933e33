"""The repairs of a recipe's scheme, done to a float model before its weights are rounded.

The rule: what is repaired is the file that the quantizer reads next, so that both formats go the same way: open the
graph, change the weights, write it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import TensorSpec
from converters.calibration.data import Data, evenly
from converters.recipe import BIAS, EQUALIZATION, Scheme
from converters.repair.bias import correct
from converters.repair.equalize import equalize
from converters.repair.graph import Graph
from converters.run_set import store

MOST_SAMPLES = 64
"""A mean over places and samples settles early."""
ONNX_STEPS, TFLITE_STEPS = 64, 127
"""Integers on each side of 0: 7 bits in ONNX (see `converters.onnx_static`), 8 in TFLite."""


def repair_onnx(
    prepared: Path, scheme: Scheme, calibration: Data, specs: tuple[TensorSpec, ...], folder: Path
) -> Path:
    """Repair an ONNX file; the result lies in `folder`, or is the file itself where there is nothing to do.

    Args:
        prepared: float, constants folded, shapes inferred.
        scheme: names the repairs.
        calibration: representative inputs.
        specs: of the model's inputs.
        folder: for files in between.
    """
    import onnx

    from converters.repair.onnx_graph import OnnxGraph

    if not scheme.repairs:
        return prepared
    path = _place(prepared, scheme, calibration, folder)
    if not path.exists():
        graph = OnnxGraph(onnx.load(str(prepared)))
        _repair(graph, scheme, samples(calibration, specs), ONNX_STEPS)
        onnx.save(graph.write(), str(path))
    return path


def repair_tflite(given: Path, scheme: Scheme, calibration: Data, folder: Path) -> Path:
    """Repair a float `.tflite`; see `repair_onnx`."""
    from converters import tflite_file
    from converters.repair.tflite_graph import TFLiteGraph
    from converters.tflite_float import as_float

    if not scheme.repairs:
        return given
    path = _place(given, scheme, calibration, folder)
    if not path.exists():
        graph = TFLiteGraph(as_float(given.read_bytes()))
        _repair(graph, scheme, samples(calibration, tflite_file.read(given).inputs), TFLITE_STEPS)
        path.write_bytes(graph.write())
    return path


def _place(given: Path, scheme: Scheme, calibration: Data, folder: Path) -> Path:
    """Where the repaired file lies: never beside the user's own, and under all that it depends on."""
    found = hashlib.sha256(given.read_bytes())
    found.update(f"{calibration.sha256} {scheme.repairs} {scheme.granularity}".encode())
    return folder / f"repaired-{found.hexdigest()[:16]}{given.suffix}"


def samples(
    calibration: Data, specs: tuple[TensorSpec, ...], most: int = MOST_SAMPLES
) -> list[list[NDArray[Any]]]:
    """Some of the calibration data as a model takes them, one array `[1, ...]` an input each."""
    return [
        [
            np.ascontiguousarray(store(array, spec))
            for array, spec in zip(calibration.sample(int(index)), specs, strict=True)
        ]
        for index in evenly(calibration.samples, most)
    ]


def _repair(graph: Graph, scheme: Scheme, inputs: list[list[NDArray[Any]]], steps: int) -> None:
    if EQUALIZATION in scheme.repairs:
        equalize(graph.links)
    if BIAS in scheme.repairs:
        by_channel = scheme.granularity == "channel"
        correct(graph.layers, graph.means(inputs), steps=steps, by_channel=by_channel)
