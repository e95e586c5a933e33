"""Six kinds of Keras models as ONNX by every recipe: run here on held-out digits, against Keras's own accuracy.

One start of TensorFlow serves all of them. What is refused is refused for a reason that stands here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.engines import onnx_engine
from converters.job import Target
from converters.models import Artifact
from converters.recipe import built_in
from converters.source import SourceFormat
from tests.conversion.digits import DATA, digits

pytestmark = [pytest.mark.bed, pytest.mark.timeout(900)]

RECIPES = ("fp32", "fp16", "int8-dynamic", "int8", "int8-tensor", "int8-tensorrt", "int4")
MODELS = ("cnn", "depthwise", "resnet", "lstm", "gru", "transformer")
NO_INT4 = {
    "depthwise": "stay float, those of Conv",
    "resnet": "stay float, those of Conv",
    "lstm": "stay float, those of LSTM",
    "gru": "stay float, those of Loop",
}
"""What an int4 file would not be, and why."""
MOST_LOST = 0.015
"""13 of 900 digits; no recipe has cost more here."""


@contextlib.contextmanager
def stage(*_: object) -> Iterator[None]:
    yield


def depthwise(layers: Any) -> list[Any]:
    """The block of MobileNet."""
    return [
        layers.Conv2D(16, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(6.0),
        layers.Conv2D(32, 1, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(6.0),
        layers.GlobalAveragePooling2D(),
    ]


def resnet(keras: Any) -> Any:
    """Two residual blocks."""
    layers = keras.layers
    given = keras.Input((8, 8, 1), name="image")
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu")(given)
    for _ in range(2):
        inner = layers.Conv2D(16, 3, padding="same", use_bias=False)(hidden)
        inner = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(inner))
        inner = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(16, 3, padding="same")(inner))
        hidden = layers.ReLU()(hidden + inner)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(given, layers.Dense(10, activation="softmax", name="digit")(hidden))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models' files; what is not among the project's own is trained here."""
    import keras

    keras.utils.set_random_seed(1)
    folder, layers = tmp_path_factory.mktemp("keras"), keras.layers
    x, y = digits()
    rows = x.reshape(-1, 8, 8)
    digit = layers.Dense(10, activation="softmax", name="digit")
    image, row = keras.Input((8, 8, 1), name="image"), keras.Input((8, 8), name="rows")
    trained = {
        "depthwise": (keras.Sequential([image, *depthwise(layers), digit]), x, 40),
        "resnet": (resnet(keras), x, 20),
        "lstm": (
            keras.Sequential([row, layers.LSTM(24), layers.Dense(10, activation="softmax", name="digit")]),
            rows,
            30,
        ),
    }
    files = {"cnn": DATA / "digits.keras", "gru": DATA / "rows_gru.keras"}
    files["transformer"] = DATA / "rows_attention.keras"
    for name, (model, inputs, epochs) in trained.items():
        model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
        model.fit(inputs[:700], y[:700], batch_size=32, epochs=epochs, verbose=0)
        files[name] = folder / f"{name}.keras"
        model.save(files[name])
    return files


class Cells:
    """The models, read, with their accuracy; artifacts are made when they are asked for."""

    def __init__(self, files: dict[str, Path], folder: Path) -> None:
        from converters.keras_model import KerasModel

        self.folder = folder
        self.models = {name: KerasModel(path, SourceFormat.KERAS, stage) for name, path in files.items()}
        self.accuracy = {
            name: self._right(model.answer([self.inputs(name)[897:]])[0])
            for name, model in self.models.items()
        }

    def inputs(self, name: str) -> np.ndarray:
        x = digits()[0]
        return x if len(self.models[name].inputs[0].shape) == 4 else x[..., 0]

    def make(self, name: str, code: str) -> Artifact:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        data = Data(path=Path("c.npz"), sha256=name.ljust(64, "0"), inputs=(self.inputs(name)[700:897],))
        target = Target(code, ModelFormat.ONNX, built_in()[code], "x86_64")
        return self.models[name].convert(target, data, folder, stage)

    def lost(self, name: str, artifact: Artifact) -> float:
        answers = onnx_engine(artifact.path).answer([self.inputs(name)[897:]])[0]
        return self.accuracy[name] - self._right(answers)

    @staticmethod
    def _right(answers: np.ndarray) -> float:
        return float(np.mean(answers.argmax(axis=1) == digits()[1][897:]))


@pytest.fixture(scope="module")
def cells(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Cells:
    return Cells(models, tmp_path_factory.mktemp("onnx"))


def test_the_float_models_have_learned_something(cells: Cells) -> None:
    assert min(cells.accuracy.values()) > 0.88


@pytest.mark.parametrize("code", RECIPES)
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_is_right_by_every_recipe(cells: Cells, name: str, code: str) -> None:
    if code == "int4" and name in NO_INT4:
        with pytest.raises(ModelUnsupported, match=NO_INT4[name]):
            cells.make(name, code)
        return

    artifact = cells.make(name, code)

    assert cells.lost(name, artifact) < MOST_LOST
    proto = onnx.load(str(artifact.path))
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
        KerasModel(tmp_path / "m.keras", SourceFormat.KERAS, stage).convert(target, None, tmp_path, stage)


def test_an_open_axis_is_named(tmp_path: Path) -> None:
    import keras

    from converters.keras_model import KerasModel

    given = keras.Input((None, 8, 1), name="image")
    keras.Model(given, keras.layers.Conv2D(2, 3)(given)).save(tmp_path / "m.keras")
    target = Target("fp32", ModelFormat.ONNX, built_in()["fp32"], "x86_64")

    with pytest.raises(ModelUnsupported, match="axis 1 of its input `image` has no fixed length"):
        KerasModel(tmp_path / "m.keras", SourceFormat.KERAS, stage).convert(target, None, tmp_path, stage)


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
