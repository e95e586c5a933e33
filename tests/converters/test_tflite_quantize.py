"""Float `.tflite` files quantized: each recipe's artifact runs and is right, and what would not be is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters import tflite_file
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact
from converters.recipe import Recipe, Scheme, built_in
from converters.tflite_model import TFLiteModel
from tests.agent.boards import MODELS
from tests.conversion.digits import DATA, digits
from tests.converters.unmeasured import unmeasured

CNN, ATTENTION = DATA / "digits.tflite", DATA / "rows_attention.tflite"
FLOAT_ACCURACY = {CNN: 0.968, ATTENTION: 0.978}
HELD_OUT = 300
LEAST = 0.95
INT4_LEAST = 0.92
QUANTIZED = [name for name, recipe in built_in().items() if recipe.tflite and name != "fp32"]


def data(*, rows: bool = False) -> tuple[Data, np.ndarray, np.ndarray]:
    """Calibration data, held-out inputs and their classes."""
    x, y = digits()
    x = x[..., 0] if rows else x
    return (
        Data(path=Path("digits.npz"), sha256="digits", inputs=(x[700:897],)),
        x[897:][:HELD_OUT],
        y[897:][:HELD_OUT],
    )


def made(recipe: Recipe, folder: Path, *, model: Path = CNN, calibration: Data | None = None) -> Artifact:
    """The artifact of a recipe."""
    calibration = calibration or data(rows=model == ATTENTION)[0]
    target = Target(f"tflite-{recipe.name}", ModelFormat.TFLITE, recipe, "x86_64")
    return TFLiteModel(model, unmeasured, interpreter=False).convert(target, calibration, folder, unmeasured)


def answers(path: Path, inputs: np.ndarray) -> np.ndarray:
    """Classes by LiteRT itself, integers in and out as the file wants them."""
    interpreter = Interpreter(str(path))
    given, gives = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if given["dtype"] != np.float32:
        scale, zero = given["quantization"]
        span = np.iinfo(given["dtype"])
        inputs = np.clip(np.round(inputs / scale + zero), span.min, span.max).astype(given["dtype"])
    interpreter.resize_tensor_input(given["index"], inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], inputs)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(gives["index"]).argmax(axis=1))


def edited(change: Callable[[Any], None], folder: Path) -> Path:
    """The digits' file with something changed in it."""
    model = flatbuffer_utils.read_model(str(CNN))
    change(model)
    path = folder / "edited.tflite"
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return path


def stamp_of(path: Path) -> str:
    model = flatbuffer_utils.read_model(str(path))
    place = next(entry.buffer for entry in model.metadata if entry.name == b"min_runtime_version")
    return bytes(model.buffers[place].data).rstrip(b"\0").decode()


@pytest.mark.parametrize(
    "model", [CNN, pytest.param(ATTENTION, marks=pytest.mark.bed)], ids=["cnn", "transformer"]
)
@pytest.mark.parametrize("name", QUANTIZED)
def test_every_recipe_of_a_float_file_runs_and_keeps_its_accuracy(
    name: str, model: Path, tmp_path: Path
) -> None:
    _, inputs, classes = data(rows=model == ATTENTION)

    artifact = made(built_in()[name], tmp_path, model=model)

    accuracy = float((answers(artifact.path, inputs) == classes).mean())
    assert accuracy > (INT4_LEAST if "int4" in name else LEAST)
    scheme = built_in()[name].scheme(ModelFormat.TFLITE)
    assert (artifact.inputs[0].dtype, artifact.outputs[0].dtype) == (scheme.inputs, scheme.outputs)
    assert artifact.path.stat().st_size < model.stat().st_size


def test_the_float_files_are_as_good_as_they_are_taken_for() -> None:
    for model, accuracy in FLOAT_ACCURACY.items():
        _, inputs, classes = data(rows=model == ATTENTION)
        assert float((answers(model, inputs) == classes).mean()) == pytest.approx(accuracy, abs=0.01)


@pytest.mark.parametrize(
    ("name", "stamp", "version"),
    [
        ("int8-dynamic", "2.17.0", 12),
        ("int4", "2.17.0", 12),
        ("int4-block32", "2.19.0", 12),
        ("int8", "1.14.0", 4),
    ],
)
def test_operator_versions_and_the_stamp_are_what_old_runtimes_need_to_refuse_it(
    name: str, stamp: str, version: int, tmp_path: Path
) -> None:
    assert stamp_of(CNN) == "1.11.0"

    artifact = made(built_in()[name], tmp_path)

    assert stamp_of(artifact.path) == stamp
    model = flatbuffer_utils.read_model(str(artifact.path))
    found = {
        flatbuffer_utils.opcode_to_name(model, place): code.version
        for place, code in enumerate(model.operatorCodes)
    }
    assert found["FULLY_CONNECTED"] == version


@pytest.mark.parametrize("name", ["int8-dynamic", "int4", "int4-block32", "int8-int4"])
def test_what_tflite_runtime_answers_wrongly_is_never_offered_to_it(name: str, tmp_path: Path) -> None:
    assert "tflite-runtime" not in made(built_in()[name], tmp_path).engines


def test_what_tflite_runtime_answers_right_is_offered_to_it(tmp_path: Path) -> None:
    assert "tflite-runtime" in made(built_in()["int8"], tmp_path).engines


def test_layers_that_blocks_do_not_divide_are_left_in_int8_and_the_others_are_not(tmp_path: Path) -> None:
    artifact = made(built_in()["int4-block32"], tmp_path, model=ATTENTION)

    types = {operator.types for operator in tflite_file.read(artifact.path).operators}
    assert any("int4/block" in used for used in types)
    assert any("int8/channel" in used for used in types)
    assert "blocks of 32 don't divide them" in artifact.notes[0]


def test_a_file_without_an_operator_that_can_be_int4_is_not_given_out_as_such(tmp_path: Path) -> None:
    float_everywhere = Recipe(
        name="int4-but-nothing",
        title="",
        tflite=Scheme(
            quantizer="ai-edge-quantizer", weights="int4", activations="dynamic", keep_float=("re:.*",)
        ),
    )

    with pytest.raises(ModelUnsupported, match="no operator of it can be int4"):
        made(float_everywhere, tmp_path)


def test_a_file_that_grew_is_refused(tmp_path: Path) -> None:
    small = made(built_in()["int8-dynamic"], tmp_path)

    with pytest.raises(ModelUnsupported, match=r"the file grew from [0-9,]+ to [0-9,]+ bytes"):
        made(built_in()["fp16"], tmp_path, model=small.path)


def test_weights_that_are_integers_already_are_expanded_and_quantized_anew(tmp_path: Path) -> None:
    _, inputs, classes = data()
    small = made(built_in()["int8-dynamic"], tmp_path)

    again = made(built_in()["int8"], tmp_path, model=small.path)

    assert float((answers(again.path, inputs) == classes).mean()) > LEAST


def test_sixteen_bit_floats_are_expanded_and_quantized(tmp_path: Path) -> None:
    _, inputs, classes = data()
    half = made(built_in()["fp16"], tmp_path)

    again = made(built_in()["int8"], tmp_path, model=half.path)

    assert float((answers(again.path, inputs) == classes).mean()) > LEAST
    assert again.path.stat().st_size < CNN.stat().st_size


def test_a_file_that_computes_in_integers_is_the_end_of_a_conversion(tmp_path: Path) -> None:
    whole = made(built_in()["int8"], tmp_path)

    with pytest.raises(ModelUnsupported, match=r"it is quantized already: `.*` in it is int8") as refused:
        made(built_in()["int8-dynamic"], tmp_path, model=whole.path)

    with pytest.raises(ModelUnsupported, match="it is quantized already"):
        made(built_in()["fp32"], tmp_path, model=whole.path)
    assert "--recipe as-is" in (refused.value.hint or "")
    assert made(built_in()["as-is"], tmp_path, model=whole.path).path.read_bytes() == whole.path.read_bytes()


def test_layers_that_are_named_stay_float(tmp_path: Path) -> None:
    recipe = Recipe(
        name="head-float",
        title="",
        tflite=Scheme(
            quantizer="ai-edge-quantizer",
            weights="int8",
            activations="int8",
            calibration="min-max",
            keep_float=("re:MatMul",),
        ),
    )
    _, inputs, classes = data()

    artifact = made(recipe, tmp_path)

    types = {operator.types for operator in tflite_file.read(artifact.path).operators}
    assert "float32 > float32" in types
    assert any(used.startswith("int8/tensor int8/channel") for used in types)
    assert float((answers(artifact.path, inputs) == classes).mean()) > LEAST


def test_ranges_are_the_smallest_and_largest_values_and_no_moving_average(tmp_path: Path) -> None:
    calibration, _, _ = data()
    once = calibration.inputs[0].copy()
    once[0, 0, 0, 0] = 8.0
    outlier = Data(path=Path("digits.npz"), sha256="outlier", inputs=(once,))

    artifact = made(built_in()["int8"], tmp_path, calibration=outlier)

    assert artifact.inputs[0].scale == pytest.approx(8.0 / 255, rel=0.01)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    def break_it(model: Any) -> None:
        tensor = next(
            t for t in model.subgraphs[0].tensors if model.buffers[t.buffer].data is not None and t.type == 0
        )
        values = np.frombuffer(bytes(bytearray(model.buffers[tensor.buffer].data)), np.float32).copy()
        values[0] = np.nan
        model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)

    with pytest.raises(ModelUnsupported, match="hold NaN or infinity"):
        made(built_in()["int8"], tmp_path, model=edited(break_it, tmp_path))


@pytest.mark.parametrize(
    ("name", "reason"),
    [(b"FlexErf", r"TensorFlow's own operators \(SELECT_TF_OPS\).*FlexErf"), (b"MyOperator", "MyOperator")],
)
def test_operators_that_no_board_has_are_refused_when_the_file_is_read(
    name: bytes, reason: str, tmp_path: Path
) -> None:
    def rename(model: Any) -> None:
        model.operatorCodes[0].builtinCode = 32
        model.operatorCodes[0].deprecatedBuiltinCode = 32
        model.operatorCodes[0].customCode = name

    with pytest.raises(ModelUnsupported, match=reason):
        TFLiteModel(edited(rename, tmp_path), unmeasured, interpreter=False)


def test_nothing_is_left_beside_the_users_model_and_nothing_of_it_taken_for_another(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    model = edited(lambda model: None, given)
    plain = built_in()["int8"].tflite
    assert plain is not None
    scheme = dataclasses.replace(plain, repairs=("bias-correction",))
    recipe = Recipe(name="repaired", title="of a test", tflite=scheme)
    other = Data(path=Path("digits.npz"), sha256="other", inputs=(data()[0].x[:3],))

    artifacts = [
        made(recipe, tmp_path, model=model, calibration=calibration).path.read_bytes()
        for calibration in (data()[0], other)
    ]

    assert [path.name for path in given.iterdir()] == [model.name]
    assert artifacts[0] != artifacts[1]
    assert len(list(tmp_path.glob("repaired-*.tflite"))) == 2


def test_products_with_constant_matrices_have_one_scale_for_their_weights(tmp_path: Path) -> None:
    """LiteRT answers zeros where a BATCH_MATMUL has one for each channel."""

    def multiply(model: Any) -> None:
        graph = model.subgraphs[0]
        names = [flatbuffer_utils.opcode_to_name(model, op.opcodeIndex) for op in graph.operators]
        product = graph.operators[names.index("FULLY_CONNECTED")]
        code = model.operatorCodes[product.opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.BATCH_MATMUL
        product.builtinOptionsType = schema.BuiltinOptions.BatchMatMulOptions
        product.builtinOptions = schema.BatchMatMulOptionsT(adjY=True)
        product.inputs = product.inputs[:2]

    model = edited(multiply, tmp_path)
    x = data()[1]

    artifact = made(built_in()["int8"], tmp_path, model=model)

    assert float((answers(artifact.path, x) == answers(model, x)).mean()) > LEAST


def test_a_single_number_without_a_shape_is_read(tmp_path: Path) -> None:
    def add_number(model: Any) -> None:
        model.buffers.append(schema.BufferT(data=np.frombuffer(np.float32(0.5).tobytes(), np.uint8)))
        model.subgraphs[0].tensors.append(schema.TensorT(buffer=len(model.buffers) - 1, name=b"half"))

    made(built_in()["int8"], tmp_path, model=edited(add_number, tmp_path))


def test_a_variable_that_stays_from_one_run_to_the_next_is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="keeps a variable from one run to the next"):
        TFLiteModel(MODELS / "counting.tflite", unmeasured, interpreter=False)


def test_an_lstm_answers_each_sample_alone() -> None:
    model = TFLiteModel(MODELS / "lstm.tflite", unmeasured, interpreter=False)
    rows = np.random.default_rng(0).normal(size=(2, *model.inputs[0].shape[1:])).astype(np.float32)

    (together,), apart = model.answer([rows]), [model.answer([row[None]])[0] for row in rows]

    assert together.tolist() == np.concatenate(apart).tolist()


@pytest.mark.parametrize(("name", "width"), [("fp16", "float16"), ("int8-dynamic", "int8"), ("int4", "int4")])
def test_a_file_in_which_nothing_has_become_small_is_not_given_out_as_one(
    name: str, width: str, tmp_path: Path
) -> None:
    """AI Edge Quantizer leaves an LSTM as it is."""
    with pytest.raises(ModelUnsupported, match=f"no operator of it can be {width}"):
        made(built_in()[name], tmp_path, model=MODELS / "lstm.tflite")


def test_a_block_that_no_runtime_has_is_refused(tmp_path: Path) -> None:
    recipe = Recipe(
        name="blocks-of-7",
        title="",
        tflite=Scheme(
            quantizer="ai-edge-quantizer", weights="int4", activations="dynamic", granularity="block", block=7
        ),
    )

    with pytest.raises(ModelUnsupported, match="LiteRT has no blocks of 7"):
        made(recipe, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["int8", "int8-float-io", "int8-tensor", "int8-dynamic", pytest.param("int16x8", marks=pytest.mark.bed)],
)
def test_keyword_spotting_stays_within_a_point_of_float(name: str, real_models: Path, tmp_path: Path) -> None:
    known, held_out = (np.load(real_models / f"kws_{part}.npz") for part in ("calibration", "eval"))
    calibration = Data(path=Path("kws.npz"), sha256="kws", inputs=(known["x"].astype(np.float32),))
    inputs, classes = held_out["x"].astype(np.float32), held_out["y"]

    artifact = made(
        built_in()[name], tmp_path, model=real_models / "kws_dscnn_float32.tflite", calibration=calibration
    )

    assert float((answers(artifact.path, inputs) == classes).mean()) == pytest.approx(0.905, abs=0.01)
