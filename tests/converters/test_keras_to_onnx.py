"""Keras models as ONNX: what is in the files. How accurate they are is measured in `tests/conversion/test_cells.py`."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact
from converters.recipe import built_in
from converters.source import SourceFormat
from tests.conversion.digits import DATA, digits
from tests.converters.unmeasured import unmeasured

pytestmark = [pytest.mark.bed, pytest.mark.timeout(900)]

FILES = {"cnn": "digits", "lstm": "rows_lstm", "gru": "rows_gru", "transformer": "rows_attention"}


class Cells:
    """The models, read; artifacts are made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        from converters.keras_model import KerasModel

        self.folder = folder
        self.models = {
            name: KerasModel(DATA / f"{file}.keras", SourceFormat.KERAS, unmeasured)
            for name, file in FILES.items()
        }

    def make(self, name: str, code: str) -> Artifact:
        x, model, folder = digits()[0][700:897], self.models[name], self.folder / name
        folder.mkdir(exist_ok=True)
        x = x if len(model.inputs[0].shape) == 4 else x[..., 0]
        data = Data(path=Path("c.npz"), sha256=name.ljust(64, "0"), inputs=(x,))
        target = Target(code, ModelFormat.ONNX, built_in()[code], "x86_64")
        return model.convert(target, data, folder, unmeasured)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    return Cells(tmp_path_factory.mktemp("onnx"))


@pytest.mark.parametrize("code", ["fp32", "int8"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_of_the_forms_that_boards_read(cells: Cells, name: str, code: str) -> None:
    proto = onnx.load(str(cells.make(name, code).path))

    assert ({entry.domain: entry.version for entry in proto.opset_import}[""], proto.ir_version) == (17, 8)


def test_exact_gelu_leaves_no_operator_that_onnx_does_not_have(cells: Cells) -> None:
    proto = onnx.load(str(cells.make("transformer", "fp32").path))

    kinds = {node.op_type for node in proto.graph.node}
    assert "Erfc" not in kinds
    assert "Erf" in kinds


def test_a_file_that_tf2onnx_calls_good_and_that_is_not_is_refused(tmp_path: Path) -> None:
    import keras

    from converters.keras_model import KerasModel

    given = keras.Input((4,), name="x")
    model = keras.Model(given, keras.layers.Dense(2)(keras.ops.erfinv(given / 9)))
    model.save(tmp_path / "m.keras")
    target = Target("fp32", ModelFormat.ONNX, built_in()["fp32"], "x86_64")

    with pytest.raises(ModelUnsupported, match="Erfinv"):
        KerasModel(tmp_path / "m.keras", SourceFormat.KERAS, unmeasured).convert(
            target, None, tmp_path, unmeasured
        )


def test_an_open_axis_is_named(tmp_path: Path) -> None:
    import keras

    from converters.keras_model import KerasModel

    given = keras.Input((None, 8, 1), name="image")
    keras.Model(given, keras.layers.Conv2D(2, 3)(given)).save(tmp_path / "m.keras")
    target = Target("fp32", ModelFormat.ONNX, built_in()["fp32"], "x86_64")

    with pytest.raises(ModelUnsupported, match="axis 1 of its input `image` has no fixed length"):
        KerasModel(tmp_path / "m.keras", SourceFormat.KERAS, unmeasured).convert(
            target, None, tmp_path, unmeasured
        )


def test_an_lstm_is_one_operator_and_a_gru_is_a_loop_and_the_notes_say_what_stayed_float(
    cells: Cells,
) -> None:
    made = {name: cells.make(name, "int8") for name in ("lstm", "gru")}

    for name, kind in (("lstm", "LSTM"), ("gru", "Loop")):
        nodes = [node.op_type for node in onnx.load(str(made[name].path)).graph.node]
        assert nodes.count(kind) == 1
        assert any(f"stayed float, those of {kind}" in note for note in made[name].notes)
    assert not any("stayed float" in note for note in cells.make("lstm", "int8-dynamic").notes)


def test_symbolic_shapes_of_the_transformer_fail_and_the_next_way_is_taken(cells: Cells) -> None:
    assert cells.make("transformer", "int8").settings["prepared"] == "optimized"
    assert cells.make("cnn", "int8").settings["prepared"] == "optimized, symbolic shapes"
