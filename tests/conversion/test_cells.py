"""Every cell of `cells.py`: the artifact runs and is as accurate as the model it was made from, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from agent.contract.errors import EdgeError
from agent.transforms.quantization import dequantize
from converters.recipe import built_in
from converters.routes import ROUTES
from tests.conversion.cell_models import Made, Models
from tests.conversion.cells import Cell, Figures, cells

pytestmark = [pytest.mark.bed, pytest.mark.timeout(1800)]

MOST_LOST = {"int4": 0.1, "int4-block32": 0.06, "int8-int4": 0.06}
"""Measured: the depthwise net loses 8.3 points by int4; its pointwise layers have 16 inputs each."""
MOST_LOST_OF_INT8 = 0.02
LEAST_RIGHT = 0.85
"""Of a given model: less would be a net that learned nothing."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(lambda name: tmp_path_factory.mktemp(name))


def refusal(error: EdgeError) -> str:
    """Its reason and way out, without the names of this run's files."""
    reason = str(error.facts.get("reason", error))
    hint = str(error.hint or "")
    return f"{reason}; {hint}" if hint else reason


def figures(made: Made, cell: Cell) -> Figures:
    """What there is to say of a cell."""
    if error := made.errors.get(cell.key):
        return Figures(reason=refusal(error))
    assert made.conversion is not None
    artifact = made.conversion.converted[cell.key]
    run, answers = np.load(made.folder / "run.npz"), np.load(made.folder / f"{cell.key}.npz")
    found = dequantize(answers["output_0"], artifact.outputs[0])
    return Figures(
        float_accuracy=round(float(np.mean(run["float_0"].argmax(1) == run["y"])), 4),
        accuracy=round(float(np.mean(found.argmax(1) == run["y"])), 4),
        size_bytes=(made.folder / artifact.file).stat().st_size,
    )


REFUSED = {
    ("keras|tflite", "ResNet|LSTM|GRU", "tflite", "int4-block32"): "no operator of it can be int4",
    ("keras|onnx", "depthwise CNN|ResNet|LSTM|GRU", "onnx", "int4"): "of the weights would stay float",
    ("saved-model", "LSTM|GRU", "tflite", "int8"): "TensorFlow's calibration crashes",
    ("keras-h5", "ResNet|transformer", ".*", ".*"): "too many positional arguments",
    ("torchscript", "transformer", "onnx", ".*"): "exporter of TorchScript says",
    ("skops|pickle", "pipeline|forest", "onnx", "int8"): "none of its operators can be quantized",
}
"""Source, network, format and recipe, as expressions, and what the refusal says."""


def expected_refusal(cell: Cell) -> str | None:
    """What the reason must say; None where the cell is to have an artifact."""
    if reason := ROUTES[cell.source, cell.format].reason:
        return re.escape(reason)
    found = (cell.source.value, cell.network, cell.format.value, cell.recipe)
    for patterns, words in REFUSED.items():
        if all(re.fullmatch(pattern, text) for pattern, text in zip(patterns, found, strict=True)):
            return words
    return None


@pytest.mark.parametrize(
    "cell", list(cells()), ids=lambda cell: f"{cell.source.value}-{cell.network.replace(' ', '-')}-{cell.key}"
)
def test_the_artifact_is_as_accurate_as_its_model_or_is_refused_with_the_reason(
    cell: Cell, models: Models, record: Callable[[Cell, Figures], None]
) -> None:
    made = models.made(cell.source, cell.network)
    found = figures(made, cell)
    record(cell, found)

    if words := expected_refusal(cell):
        assert re.search(words, found.reason), found
        return
    assert found.reason == ""
    assert found.float_accuracy is not None
    assert found.accuracy is not None
    assert found.float_accuracy > LEAST_RIGHT
    assert found.accuracy > found.float_accuracy - MOST_LOST.get(cell.recipe, MOST_LOST_OF_INT8)
    assert made.conversion is not None
    scheme, artifact = built_in()[cell.recipe].scheme(cell.format), made.conversion.converted[cell.key]
    assert (artifact.inputs[0].dtype, artifact.outputs[0].dtype) == (scheme.inputs, scheme.outputs)
