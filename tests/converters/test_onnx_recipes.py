"""The digits CNN as ONNX by every recipe, run here on held-out digits; and what is refused in place of a bad file."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact
from converters.onnx_file import OnnxFile, for_boards
from converters.onnx_model import finish
from converters.recipe import Recipe, built_in
from tests.conversion.digits import digits
from tests.converters.onnx_models import counting_loop, digits_cnn, model, random
from tests.converters.unmeasured import unmeasured

FLOAT_ACCURACY = 0.9744
CODES = ("fp32", "fp16", "int8-dynamic", "int8", "int8-tensor", "int8-tensorrt", "int4")


def convert(
    proto: onnx.ModelProto,
    recipe: Recipe | str,
    folder: Path,
    *,
    architecture: str = "x86_64",
    calibration: np.ndarray | None = None,
) -> Artifact:
    recipe = built_in()[recipe] if isinstance(recipe, str) else recipe
    target = Target(recipe.name, ModelFormat.ONNX, recipe, architecture)
    data = None if calibration is None else Data(path=Path("c.npz"), sha256="0" * 64, inputs=(calibration,))
    return finish(
        for_boards(OnnxFile(proto=proto)),
        target,
        data,
        folder,
        unmeasured,
        source=Path("m.onnx"),
        settings={},
    )


def scheme(**changes: object) -> Recipe:
    """`int8` with changes."""
    given = built_in()["int8"].onnx
    assert given is not None
    return Recipe(name="own", title="of a test", onnx=dataclasses.replace(given, **changes))  # type: ignore[arg-type]


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])


def right(path: Path) -> float:
    x, y = digits()
    return float(np.mean(answers(path, x[897:]).argmax(axis=1) == y[897:]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """The digits CNN by every recipe that has a scheme for ONNX; calibration ranges are found once."""
    folder = tmp_path_factory.mktemp("recipes")
    calibration = digits()[0][700:897]
    return {code: convert(digits_cnn(), code, folder, calibration=calibration) for code in CODES}


def stored(artifact: Artifact) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(str(artifact.path)).graph.initializer}


def test_no_recipe_for_onnx_is_left_out_here() -> None:
    assert {name for name, recipe in built_in().items() if recipe.onnx} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_recipe_keeps_the_digits_right(made: dict[str, Artifact], code: str) -> None:
    assert right(made[code].path) == pytest.approx(FLOAT_ACCURACY, abs=0.01)
    assert [(spec.dtype, spec.shape) for spec in made[code].inputs] == [("float32", (-1, 8, 8, 1))]
    assert made[code].outputs[0].dtype == "float32"


@pytest.mark.parametrize("code", CODES)
def test_every_file_is_of_opset_17_and_ir_8(made: dict[str, Artifact], code: str) -> None:
    proto = onnx.load(str(made[code].path))

    assert {entry.domain: entry.version for entry in proto.opset_import}[""] == 17
    assert proto.ir_version == 8


def test_sizes_are_in_order(made: dict[str, Artifact]) -> None:
    sizes = {code: made[code].path.stat().st_size for code in CODES}

    assert max(sizes["fp16"], sizes["int8"], sizes["int4"], sizes["int8-dynamic"]) < sizes["fp32"]


def test_dynamic_convolutions_are_called_slow(made: dict[str, Artifact]) -> None:
    assert any("convolutions" in note for note in made["int8-dynamic"].notes)
    assert not any("convolutions" in note for note in made["int8"].notes)


def test_ranges_are_found_once_for_all_targets_of_a_job(
    made: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = importlib.import_module("onnxruntime.quantization.quantize")

    def again(*_: object, **__: object) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr(tools, "create_calibrator", again)

    convert(digits_cnn(), "int8-tensor", made["int8"].path.parent, calibration=digits()[0][700:897])


def test_activations_are_unsigned_on_x86_and_signed_on_arm_and_symmetric_for_tensorrt(
    made: dict[str, Artifact], tmp_path: Path
) -> None:
    arm = convert(digits_cnn(), "int8", tmp_path, architecture="aarch64", calibration=digits()[0][700:897])

    assert "uint8" in made["int8"].settings["activations"]
    assert right(arm.path) == pytest.approx(FLOAT_ACCURACY, abs=0.01)
    for artifact, dtype in ((made["int8"], "uint8"), (arm, "int8"), (made["int8-tensorrt"], "int8")):
        proto = onnx.load(str(artifact.path))
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        points = [tensors[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
        assert {str(point.dtype) for point in points} == {dtype}
        if artifact is made["int8-tensorrt"]:
            assert not any(point.any() for point in points)


def test_for_tensorrt_weights_have_quantizers_and_biases_are_float(made: dict[str, Artifact]) -> None:
    tensors = stored(made["int8-tensorrt"]).values()

    kinds = {tuple(tensor.dims): tensor.data_type for tensor in tensors if len(tensor.dims) == 4}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.INT32 not in {tensor.data_type for tensor in tensors}


def test_scales_are_by_channel_or_by_tensor(made: dict[str, Artifact]) -> None:
    def longest(code: str) -> int:
        names = {
            node.input[1] for node in onnx.load(str(made[code].path)).graph.node if "Linear" in node.op_type
        }
        return max(
            int(np.prod(stored(made[code])[name].dims)) for name in names if name in stored(made[code])
        )

    assert (longest("int8"), longest("int8-tensor")) == (10, 1)


def test_static_weights_use_seven_bits_and_dynamic_ones_are_unsigned(made: dict[str, Artifact]) -> None:
    def weights(code: str, kind: int) -> list[np.ndarray]:
        return [
            onnx.numpy_helper.to_array(tensor)
            for tensor in stored(made[code]).values()
            if tensor.data_type == kind and len(tensor.dims) > 1
        ]

    assert max(int(np.abs(array).max()) for array in weights("int8", onnx.TensorProto.INT8)) <= 64
    assert not weights("int8-dynamic", onnx.TensorProto.INT8)
    unsigned = weights("int8-dynamic", onnx.TensorProto.UINT8)
    assert max(int(np.abs(array.astype(int) - 128).max()) for array in unsigned) > 64


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_other_ways_to_find_ranges_work(tmp_path: Path, method: str) -> None:
    artifact = convert(digits_cnn(), scheme(calibration=method), tmp_path, calibration=digits()[0][700:780])

    assert right(artifact.path) == pytest.approx(FLOAT_ACCURACY, abs=0.02)
    assert artifact.settings["calibration"]["method"] == method


@pytest.mark.parametrize("name", ["digit", "digit/Gemm", "logits", "re:^digit/"])
def test_a_layer_that_is_to_stay_float_stays_float(tmp_path: Path, name: str) -> None:
    recipe = scheme(keep_float=(name,))

    artifact = convert(digits_cnn(), recipe, tmp_path, calibration=digits()[0][700:720])

    kinds = {tuple(tensor.dims): tensor.data_type for tensor in stored(artifact).values()}
    assert kinds[128, 10] == onnx.TensorProto.FLOAT
    assert kinds[8, 1, 3, 3] == onnx.TensorProto.INT8


@pytest.mark.parametrize("code", ["int8-dynamic", "int4", "fp16"])
def test_recipes_without_data_keep_layers_float_too(tmp_path: Path, code: str) -> None:
    given = built_in()[code].onnx
    assert given is not None
    proto = digits_cnn()
    second = [onnx.helper.make_node("MatMul", ["y", "more"], ["end"], name="more/MatMul")]
    proto.graph.node.extend(second)
    proto.graph.output[0].name = "end"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(random(10, 10), "more"))
    recipe = Recipe(name="own", title="", onnx=dataclasses.replace(given, keep_float=("more",)))

    kinds = {tuple(t.dims): t.data_type for t in stored(convert(proto, recipe, tmp_path)).values()}

    assert kinds[10, 10] == onnx.TensorProto.FLOAT
    assert kinds.get((128, 10)) != onnx.TensorProto.FLOAT


def test_a_layer_to_keep_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="no layer or node is called that"):
        convert(digits_cnn(), scheme(keep_float=("digits",)), tmp_path, calibration=digits()[0][700:720])


def test_nothing_is_called_int4_that_has_no_4_bit_weight(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]

    with pytest.raises(ModelUnsupported, match="no MatMul of it can be int4"):
        convert(model(nodes, {}), "int4", tmp_path)


def test_a_4_bit_file_that_would_be_larger_is_refused(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]

    with pytest.raises(ModelUnsupported, match="would not become smaller: the file has"):
        convert(model(nodes, {"w": random(6, 6)}), "int4", tmp_path)


def test_a_model_whose_weights_are_mostly_elsewhere_is_not_called_int4(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "k"], ["c"]),
        make("GlobalAveragePool", ["c"], ["p"]),
        make("Flatten", ["p"], ["f"]),
        make("MatMul", ["f", "w"], ["y"]),
    ]
    given = model(nodes, {"k": random(64, 8, 3, 3), "w": random(64, 10)}, shape=(1, 8, 9, 9), out=(1, 10))

    with pytest.raises(ModelUnsupported, match=r"88 % of the weights would stay float, those of Conv"):
        convert(given, "int4", tmp_path)


def test_a_file_that_grew_says_so(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]

    artifact = convert(model(nodes, {"w": random(6, 6)}), "int8-dynamic", tmp_path)

    assert any("as float32 it has" in note for note in artifact.notes)


def test_a_loop_s_body_stays_float32_in_a_float16_file_that_runs(tmp_path: Path) -> None:
    given, x = counting_loop(), random(4, 6)

    artifact = convert(given, "fp16", tmp_path)

    whole = convert(given, "fp32", tmp_path)
    assert answers(artifact.path, x) == pytest.approx(answers(whole.path, x), rel=0.02, abs=0.02)
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in stored(artifact).values()}


def test_what_a_loop_s_body_reads_from_around_it_stands_before_it_in_a_quantized_file(tmp_path: Path) -> None:
    given, x = counting_loop(), random(40, 6)

    artifact = convert(given, "int8", tmp_path, calibration=x)

    whole = convert(given, "fp32", tmp_path)
    assert answers(artifact.path, x) == pytest.approx(answers(whole.path, x), rel=0.1, abs=0.1)


def test_what_stays_float_in_a_quantized_file_is_said(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Transpose", ["x"], ["steps"], name="in/Transpose", perm=[1, 0, 2]),
        make("LSTM", ["steps", "w", "r"], ["", "h"], name="lstm/LSTM", hidden_size=16),
        make("Squeeze", ["h", "axis"], ["last"], name="last/Squeeze"),
        make("MatMul", ["last", "d"], ["y"], name="digit/MatMul"),
    ]
    held = {
        "w": random(1, 64, 6),
        "r": random(1, 64, 16),
        "d": random(16, 6),
        "axis": np.array([0], np.int64),
    }
    given = model(nodes, held, shape=(1, 8, 6), out=(1, 6))

    artifact = convert(given, "int8", tmp_path, calibration=random(20, 8, 6))

    assert any("stayed float, those of LSTM" in note for note in artifact.notes)


def test_where_symbolic_shapes_fail_the_next_way_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    def fails(*_: object, **__: object) -> None:
        raise Exception("Incomplete symbolic shape inference")

    monkeypatch.setattr(SymbolicShapeInference, "infer_shapes", fails)

    artifact = convert(digits_cnn(), "int8", tmp_path, calibration=digits()[0][700:720])

    assert artifact.settings["prepared"] == "optimized"


def test_16_bit_activations_raise_the_opset_and_the_ir_with_it(tmp_path: Path) -> None:
    artifact = convert(digits_cnn(), scheme(activations="int16"), tmp_path, calibration=digits()[0][700:780])

    proto = onnx.load(str(artifact.path))
    assert ({entry.domain: entry.version for entry in proto.opset_import}[""], proto.ir_version) == (21, 10)
    assert artifact.engines == {"onnxruntime": "1.18.0"}
    assert right(artifact.path) == pytest.approx(FLOAT_ACCURACY, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activations": "float32", "calibration": ""}, "no tool makes int8 weights with float32"),
        ({"fully_connected": "int4"}, "int4 ones in fully connected layers"),
        ({"activations": "int8", "inputs": "int8"}, "are float32"),
        ({"granularity": "block", "block": 32}, "blocks are for int4 weights"),
    ],
)
def test_a_recipe_that_no_tool_makes_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ModelUnsupported, match=words):
        convert(digits_cnn(), scheme(**changes), tmp_path, calibration=digits()[0][700:720])
