"""Models of PyTorch and scikit-learn, and ONNX for TFLite, in their frameworks' environments: what cells don't show.

`test_cells.py` measures every network and recipe; here are layouts, names, trust, and what is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from agent.contract.errors import (
    EdgeError,
    ModelHoldsCode,
    ModelNeedsTrust,
    ModelUnsupported,
    TorchPickleRefused,
)
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import read_golden
from converters.source import Trust
from edge.bundle import open_bundle
from edge.conversion import ConversionOutcome, ConversionRequest, ProfileResult, convert
from tests.conversion.digits import DATA, digits, write_data
from tests.conversion.frameworks import environment, link, saved_by, write_shaped
from tests.conversion.proving import PROFILES, measure_here

pytestmark = [pytest.mark.bed, pytest.mark.timeout(1800)]
TFLITE, ONNX = PROFILES["sim-tflite"], PROFILES["sim-onnx"]
PICTURE, ROWS, FEATURES = (1, 8, 8), (8, 8), (64,)


@pytest.fixture(autouse=True, scope="module")
def _environments(own_cache: Path) -> None:
    link(own_cache)


@pytest.fixture(scope="session")
def torch_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_by("litert-torch", "torch_models.py", tmp_path_factory.mktemp("torch"), PICTURE)


@pytest.fixture(scope="session")
def sklearn_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_by("sklearn", "sklearn_models.py", tmp_path_factory.mktemp("sklearn"), FEATURES)


def run(
    model: Path,
    folder: Path,
    *profiles: DeviceProfile,
    shape: tuple[int, ...],
    recipe: str = "fp32",
    trust: Trust = Trust(),  # noqa: B008 - frozen
    labelled: bool = True,
) -> ConversionOutcome:
    """Convert with 900 held-out digits of a shape."""
    write_shaped(folder, shape)
    request = ConversionRequest(
        model=model,
        profiles=profiles,
        output=folder / "out",
        recipe=recipe,
        calibration=folder / "calibration.npz",
        evaluation=folder / ("held-out.npz" if labelled else "calibration.npz"),
        max_drop_points=1.5,
        trust=trust,
    )
    return convert(request, measure_for=measure_here)


def right(result: ProfileResult, *, least: float = 0.93) -> None:
    """It was admitted, is as accurate as its source, and that is something."""
    if result.error is not None:
        raise result.error
    assert result.drop is not None
    assert result.drop.samples == 900
    assert result.drop.float_accuracy > least
    assert result.drop.high <= 1.5


def error_of(outcome: ConversionOutcome) -> EdgeError:
    """Why the only profile got nothing."""
    error = outcome.results[0].error
    assert error is not None
    return error


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def test_an_exported_program_keeps_its_layout_and_its_softmax_in_both_formats(
    torch_models: Path, tmp_path: Path
) -> None:
    outcome = run(torch_models / "cnn.pt2", tmp_path, TFLITE, ONNX, shape=PICTURE)

    for result in outcome.results:
        right(result)
        assert any("NCHW" in note for note in result.notes)
        manifest = open_bundle(tmp_path / "out" / result.profile).manifest
        assert manifest.inputs[0].shape[1:] == PICTURE
        assert [step.op for step in manifest.postprocessing] == ["top-k"]


def test_a_batch_that_is_neither_one_nor_open_is_refused(torch_models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match=r"\[3, 1, 8, 8\]") as error:
        run(torch_models / "three.pt2", tmp_path, ONNX, shape=PICTURE)
    assert "dynamic_shapes" in str(error.value.hint)


def test_torchscript_becomes_onnx_where_it_is_trusted(torch_models: Path, tmp_path: Path) -> None:
    model = torch_models / "cnn.pt"
    with pytest.raises(ModelNeedsTrust):
        run(model, tmp_path, ONNX, shape=PICTURE)

    right(run(model, tmp_path, ONNX, shape=PICTURE, trust=Trust(code=True)).results[0])


def test_torchscript_of_a_transformer_is_refused_with_the_way_that_works(
    torch_models: Path, tmp_path: Path
) -> None:
    error = error_of(run(torch_models / "attention.pt", tmp_path, ONNX, shape=ROWS, trust=Trust(code=True)))

    assert isinstance(error, ModelUnsupported)
    assert ".pt2" in str(error.hint)


def test_torchscript_has_no_way_to_tflite_and_needs_data_for_its_shape(
    torch_models: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelUnsupported, match="no TorchScript"):
        run(torch_models / "cnn.pt", tmp_path, TFLITE, shape=PICTURE, trust=Trust(code=True))
    request = ConversionRequest(
        model=torch_models / "cnn.pt",
        profiles=(ONNX,),
        output=tmp_path / "out",
        recipe="fp32",
        trust=Trust(code=True),
    )
    with pytest.raises(ModelUnsupported, match="doesn't say what its inputs are"):
        convert(request, measure_for=measure_here)


def test_a_pickle_of_pytorch_is_refused_with_what_to_do(torch_models: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(TorchPickleRefused) as error:
        run(tmp_path / "model.pt", tmp_path, ONNX, shape=PICTURE, trust=Trust(code=True, pickle=True))
    assert "torch.export.save" in str(error.value.hint)


# --- scikit-learn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forest", "svc"])
def test_a_classifier_answers_scores_and_labels_like_scikit_learn(
    sklearn_models: Path, tmp_path: Path, name: str
) -> None:
    result = run(sklearn_models / f"{name}.skops", tmp_path, ONNX, shape=FEATURES).results[0]

    right(result, least=0.9)
    manifest = open_bundle(tmp_path / "out" / ONNX.name).manifest
    assert [(spec.name, spec.dtype) for spec in manifest.outputs] == [
        ("probabilities", "float32"),
        ("label", "int64"),
    ]
    golden = read_golden(tmp_path / "out" / ONNX.name / "golden.npz")
    assert np.mean(golden.proof[0].argmax(1) == golden.proof[1]) > 0.99
    assert np.mean(golden.proof[1] == golden.float_outputs[1]) > 0.99


def test_a_table_in_parquet_is_read_in_the_environment_of_the_framework(
    sklearn_models: Path, tmp_path: Path
) -> None:
    x, y = digits()
    columns = {f"pixel {place}": x[897:].reshape(-1, 64)[:, place] for place in range(64)}
    pyarrow.parquet.write_table(pyarrow.table({**columns, "digit": y[897:]}), tmp_path / "held-out.parquet")

    outcome = convert(
        ConversionRequest(
            model=sklearn_models / "pipeline.skops",
            profiles=(ONNX,),
            output=tmp_path / "out",
            recipe="fp32",
            evaluation=tmp_path / "held-out.parquet",
            label_column="digit",
            max_drop_points=1.5,
        ),
        measure_for=measure_here,
    )

    right(outcome.results[0])


def test_the_artifact_has_the_opset_of_the_boards_once(sklearn_models: Path, tmp_path: Path) -> None:
    import onnx

    run(sklearn_models / "pipeline.skops", tmp_path, ONNX, shape=FEATURES)

    proto = onnx.load(str(tmp_path / "out" / ONNX.name / "model.onnx"))
    versions = sorted((entry.domain, entry.version) for entry in proto.opset_import)
    assert versions[0] == ("", 17)
    assert len({domain for domain, _ in versions}) == len(versions)
    assert proto.ir_version == 8
    assert "ZipMap" not in {node.op_type for node in proto.graph.node}


def test_a_regressor_answers_values(sklearn_models: Path, tmp_path: Path) -> None:
    result = run(sklearn_models / "ridge.skops", tmp_path, ONNX, shape=FEATURES, labelled=False).results[0]

    golden = read_golden(tmp_path / "out" / ONNX.name / "golden.npz")
    assert result.error is None
    assert golden.proof[0].shape[1:] == (1,)
    np.testing.assert_allclose(golden.proof[0], golden.float_outputs[0], rtol=1e-3, atol=1e-3)


def test_classes_that_are_texts_are_told_in_their_order(sklearn_models: Path, tmp_path: Path) -> None:
    result = run(sklearn_models / "texts.skops", tmp_path, ONNX, shape=FEATURES).results[0]

    right(result)
    assert any("digit-0, digit-1" in note for note in result.notes)
    assert len(open_bundle(tmp_path / "out" / ONNX.name).manifest.outputs) == 1


def test_a_model_that_skl2onnx_can_t_convert_is_refused_with_another_kind(
    sklearn_models: Path, tmp_path: Path
) -> None:
    error = error_of(run(sklearn_models / "histogram.skops", tmp_path, ONNX, shape=FEATURES))

    assert isinstance(error, ModelUnsupported)
    assert "HistGradientBoosting" in str(error.hint)


def test_types_that_skops_does_not_know_are_refused_by_name(sklearn_models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelHoldsCode, match=r"numpy.*save"):
        run(sklearn_models / "function.skops", tmp_path, ONNX, shape=FEATURES)


def test_a_pickle_is_read_only_where_it_is_trusted(sklearn_models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNeedsTrust, match="runs code"):
        run(sklearn_models / "forest.joblib", tmp_path, ONNX, shape=FEATURES)

    trusted = run(sklearn_models / "forest.joblib", tmp_path, ONNX, shape=FEATURES, trust=Trust(pickle=True))
    right(trusted.results[0])


# --- ONNX to TFLite --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape"), [("cnn", PICTURE), ("lstm", ROWS)])
def test_an_onnx_model_becomes_tflite_in_its_own_layout_and_keeps_nothing_from_request_to_request(
    torch_models: Path, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    environment("onnx2tf", tmp_path / "log")
    run(torch_models / f"{name}.pt2", tmp_path, ONNX, shape=shape)

    result = run(tmp_path / "out" / ONNX.name / "model.onnx", tmp_path, TFLITE, shape=shape).results[0]

    right(result, least=0.8)
    assert result.agreement is not None
    assert result.agreement > 0.99
    assert open_bundle(tmp_path / "out" / TFLITE.name).manifest.inputs[0].shape[1:] == shape


def test_an_onnx_model_that_came_from_keras_is_sent_back_there(tmp_path: Path) -> None:
    environment("onnx2tf", tmp_path / "log")
    write_data(tmp_path)
    request = ConversionRequest(
        model=DATA / "digits.keras", profiles=(ONNX,), output=tmp_path / "out", recipe="fp32"
    )
    convert(request, measure_for=measure_here)

    error = error_of(run(tmp_path / "out" / ONNX.name / "model.onnx", tmp_path, TFLITE, shape=(8, 8, 1)))

    assert isinstance(error, ModelUnsupported)
    assert "Keras" in str(error.hint)
