"""The ranges of a float `.tflite`'s tensors over calibration data, for AI Edge Quantizer.

The rule: they are the smallest and largest values that the data showed; the tool's own default is a moving average.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.calibration.data import Data, evenly
from converters.job import MOST_CALIBRATION_SAMPLES
from converters.tflite_float import with_dead_ends

INTEGERS = ("INT32", "INT64")
"""What shapes are computed in."""
THREADS = 2


def measured(content: bytes, calibration: Data) -> Any:
    """Smallest and largest value of every tensor of a float file over the calibration data, as the tool takes them."""
    from ai_edge_quantizer import calibrator, qtyping, recipe, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.utils import qsv_utils

    everything = recipe_manager.RecipeManager()
    everything.load_quantization_recipe(recipe.static_wi8_ai8())
    for scope in _giving_integers(content):
        everything.add_quantization_config(
            re.escape(scope),
            qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    content = with_dead_ends(content)
    measuring = calibrator.Calibrator(content, num_threads=THREADS, qsv_update_func=qsv_utils.min_max_update)
    samples = _Samples(content, calibration)
    measuring.calibrate({samples.signature: samples}, everything)
    return measuring.get_model_qsvs()


def _giving_integers(content: bytes) -> list[str]:
    """Scopes of the operators that compute shapes: they have no ranges, and the tool fails where one is empty."""
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model, name = (
        flatbuffer_utils.read_model_from_bytearray(bytearray(content)),
        flatbuffer_utils.type_to_name,
    )
    return [
        tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors)
        for graph in model.subgraphs
        for operator in graph.operators
        if all(name(graph.tensors[place].type) in INTEGERS for place in operator.outputs)
    ]


class _Samples:
    """Calibration samples by the names of a file's inputs, batch 1; the tool goes through them more than once."""

    def __init__(self, content: bytes, calibration: Data) -> None:
        from ai_edge_quantizer.utils import tfl_interpreter_utils

        interpreter = tfl_interpreter_utils.create_tfl_interpreter(content)
        self.signature = str(next(iter(interpreter.get_signature_list())))
        details = interpreter.get_signature_runner(self.signature).get_input_details()
        names = {detail["index"]: name for name, detail in details.items()}
        self._inputs = [(names[item["index"]], item["dtype"]) for item in interpreter.get_input_details()]
        self._calibration = calibration

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index in evenly(self._calibration.samples, MOST_CALIBRATION_SAMPLES):
            sample = zip(self._inputs, self._calibration.sample(int(index)), strict=True)
            yield {name: np.ascontiguousarray(array, dtype) for (name, dtype), array in sample}
