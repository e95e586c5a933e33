"""TensorFlow SavedModels: what becomes of them in both formats, and what is refused. One TensorFlow serves all."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import (
    ExitCode,
    ModelHoldsCode,
    ModelUnreadable,
    ModelUnsupported,
    OptionInvalid,
    SignatureUnknown,
)
from agent.contract.manifest import ModelFormat
from converters.engines import Engine
from converters.job import Target
from converters.recipe import built_in
from converters.saved_model import SavedModel
from edge.conversion import ConversionOutcome, ConversionRequest, convert
from tests.conversion.digits import DATA, digits, write_data
from tests.conversion.proving import PROFILES, measure_here
from tests.converters.unmeasured import unmeasured

pytestmark = [pytest.mark.bed, pytest.mark.timeout(600)]
BOTH = (PROFILES["sim-tflite"], PROFILES["sim-onnx"])
TFLITE, ONNX = ModelFormat.TFLITE, ModelFormat.ONNX


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All SavedModels."""
    from tests.conversion.saved_models import save

    folder = tmp_path_factory.mktemp("saved-models")
    save(folder)
    return folder


def accuracies(
    model: SavedModel, kind: ModelFormat, folder: Path, *, rows: bool = False
) -> tuple[float, float]:
    """Of a model and of the float artifact that it becomes, on the 900 held-out digits."""
    x, y = digits()
    x, y = (x[897:, :, :, 0] if rows else x[897:]), y[897:]
    artifact = model.convert(Target("t", kind, built_in()["fp32"], "x86_64"), None, folder, unmeasured)
    engine = Engine.for_file(artifact.path, kind)
    assert engine is not None
    answers = (model.answer([x])[0], engine.answer([x])[0])
    was, became = (float(np.mean(answer.argmax(1) == y)) for answer in answers)
    return was, became


def run(model: Path, folder: Path, **wishes: object) -> ConversionOutcome:
    write_data(folder)
    request = ConversionRequest(
        model=model,
        profiles=BOTH,
        output=folder / "out",
        calibration=folder / "calibration.npz",
        evaluation=folder / "held-out.npz",
        max_drop_points=1.5,
        **wishes,  # type: ignore[arg-type]
    )
    return convert(request, measure_for=measure_here)


def test_a_saved_model_of_keras_becomes_int8_within_its_budget_in_both_formats(
    models: Path, tmp_path: Path
) -> None:
    outcome = run(models / "digits", tmp_path, recipe="int8")

    assert outcome.exit_code is ExitCode.DONE
    for result in outcome.results:
        assert result.drop is not None
        assert result.drop.float_accuracy > 0.93
        assert result.drop.high <= 1.5
        assert result.float_size_bytes > (models / "digits/saved_model.pb").stat().st_size


def test_the_signature_is_asked_for_where_there_are_several(models: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureUnknown, match="has 2 signatures, and none is named") as error:
        SavedModel(models / "two", None, unmeasured)
    assert str(error.value.hint).endswith("reversed, scores")
    with pytest.raises(SignatureUnknown, match="`other` is none of them"):
        SavedModel(models / "two", "other", unmeasured)
    with pytest.raises(OptionInvalid, match="a Keras model has none"):
        run(DATA / "digits.keras", tmp_path, recipe="fp32", signature="scores")


@pytest.mark.parametrize("kind", [TFLITE, ONNX])
def test_the_signature_that_is_named_is_converted(models: Path, tmp_path: Path, kind: ModelFormat) -> None:
    right = accuracies(SavedModel(models / "two", "scores", unmeasured), kind, tmp_path)
    wrong = accuracies(SavedModel(models / "two", "reversed", unmeasured), kind, tmp_path)

    assert right[0] == right[1] > 0.93
    assert wrong[0] == wrong[1] < 0.5


def test_the_softmax_at_the_end_of_a_signature_is_found(models: Path) -> None:
    assert SavedModel(models / "digits", None, unmeasured).probabilities
    assert not SavedModel(models / "two", "reversed", unmeasured).probabilities


def test_a_loop_with_an_open_batch_becomes_onnx_and_for_tflite_the_keras_model_is_asked_for(
    models: Path, tmp_path: Path
) -> None:
    model = SavedModel(models / "open-gru", None, unmeasured)

    was, became = accuracies(model, ONNX, tmp_path, rows=True)
    assert was == pytest.approx(became, abs=0.005)
    assert became > 0.9
    with pytest.raises(ModelUnsupported, match="open batch axis") as error:
        accuracies(model, TFLITE, tmp_path, rows=True)
    assert ".keras or .h5" in str(error.value.hint)


def test_a_loop_with_a_fixed_batch_becomes_tflite_in_floats_and_never_in_integers(
    models: Path, tmp_path: Path
) -> None:
    model = SavedModel(models / "gru", None, unmeasured)

    was, became = accuracies(model, TFLITE, tmp_path, rows=True)
    assert was == pytest.approx(became, abs=0.005)
    assert became > 0.9
    with pytest.raises(ModelUnsupported, match="calibration crashes"):
        model.convert(Target("t", TFLITE, built_in()["int8"], "x86_64"), None, tmp_path, unmeasured)


@pytest.mark.parametrize(
    ("name", "words"),
    [("rolling", r"SELECT_TF_OPS.*: Roll$"), ("curving", "operators that TFLite does not have: Asinh$")],
)
def test_an_operator_that_no_runtime_of_a_board_has_is_named(
    models: Path, tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(ModelUnsupported, match=words):
        accuracies(SavedModel(models / name, None, unmeasured), TFLITE, tmp_path)


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("writing", "WriteFile"),
        ("reading", "InitializeTableFromTextFileV2"),
        ("calling", "PyFunc"),
        ("printing", "PrintV2"),
    ],
)
def test_a_saved_model_that_reaches_beyond_itself_is_refused_before_it_is_loaded(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, operator: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelHoldsCode, match=operator):
        SavedModel(models / name, None, unmeasured)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_that_was_cut_is_unreadable(models: Path, tmp_path: Path) -> None:
    for cut in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        damaged = tmp_path / Path(cut).name
        shutil.copytree(models / "digits", damaged)
        whole = (damaged / cut).read_bytes()
        (damaged / cut).write_bytes(whole[: len(whole) // 2])
        with pytest.raises((ModelUnreadable, ModelUnsupported)):
            SavedModel(damaged, None, unmeasured)
