"""`edge compare`: where what one artifact says becomes another thing in the other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from agent.contract.errors import DataMismatch, InferenceFailed, ModelFormatUnknown, OptionInvalid
from edge.cli.compare import compare as command
from edge.conversion.compare import compare
from tests.converters.small_models import classifier_onnx
from tests.journeys.bundles import MODELS, digits, make_bundle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x=digits(64)[0])
    return path


def test_each_layer_of_an_int8_file_is_compared_with_the_float_one(data: Path) -> None:
    found = compare(MODELS / "digits.tflite", MODELS / "digits_int8.tflite", data=data, samples=20)

    assert found.samples == 20
    assert [layer.kind for layer in found.layers] == ["FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"]
    assert all(30 < layer.sqnr_db < 60 for layer in found.layers)


def test_the_layer_whose_weights_were_spoiled_is_the_first_that_differs(tmp_path: Path) -> None:
    model = onnx.load(str(MODELS / "digits.onnx"))
    last = [node for node in model.graph.node if node.op_type == "Gemm"][-1]
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == last.input[1])
    weights.CopyFrom(numpy_helper.from_array(np.round(numpy_helper.to_array(weights), 1), weights.name))
    onnx.save(model, str(tmp_path / "spoiled.onnx"))
    bundle = make_bundle(tmp_path / "b", profile="sim-onnx", model="digits.onnx")

    ran = CliRunner().invoke(command, [str(bundle), str(tmp_path / "spoiled.onnx"), "--json"])

    assert ran.exit_code == 0, ran.output
    layers = json.loads(ran.stdout)["layers"]
    place = next(place for place, layer in enumerate(layers) if layer["name"] == last.output[0])
    assert all(layer["sqnr_db"] == 200 for layer in layers[:place])
    assert all(layer["sqnr_db"] < 60 for layer in layers[place:])


def test_labels_beside_the_samples_are_not_in_the_way(tmp_path: Path) -> None:
    x, y = digits(8)
    np.savez(tmp_path / "labelled.npz", x=x, y=y)

    found = compare(MODELS / "digits.onnx", MODELS / "digits.onnx", data=tmp_path / "labelled.npz", samples=8)
    assert found.samples == 8


@pytest.mark.bed
def test_of_two_formats_the_outputs_are_compared(data: Path) -> None:
    (layer,) = compare(MODELS / "digits.tflite", MODELS / "digits.onnx", data=data, samples=8).layers

    assert layer.kind == "SOFTMAX"
    assert 5 < layer.sqnr_db < 60


@pytest.mark.bed
def test_what_can_not_be_compared_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = MODELS / "digits.onnx", classifier_onnx(tmp_path / "other.onnx")

    with pytest.raises(OptionInvalid, match="on which samples"):
        compare(model, model, samples=1)
    with pytest.raises(ModelFormatUnknown):
        compare(model, data, data=data, samples=1)
    with pytest.raises(DataMismatch, match=r"it takes \[\[6\]\]"):
        compare(model, other, data=data, samples=1)
    (tmp_path / "sitecustomize.py").write_text("import os; os.kill(os.getpid(), 11)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InferenceFailed, match="SIGSEGV ended the engine"):
        compare(model, model, data=data, samples=1)
