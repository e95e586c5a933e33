"""What is read of an ONNX file, what is refused with which words, and what opset it gets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent.contract.errors import ModelUnsupported
from converters.engines import onnx_engine
from converters.onnx_file import MOST_FILE_BYTES, for_boards, read
from converters.onnx_model import OnnxModel
from converters.onnx_opset import opset, to_ir, to_opset
from tests.converters.onnx_models import digits_cnn, model, random, save
from tests.converters.unmeasured import unmeasured

NEWEST = onnx.defs.onnx_opset_version()


def answers(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def layer(kind: str, *, opset: int = NEWEST, **attributes: object) -> onnx.ModelProto:
    """A product and one operator behind it."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node(kind, ["h", *(["s"] if "Normalization" in kind else [])], ["y"], **attributes),
    ]
    return model(nodes, {"w": random(6, 6), "s": np.ones(6, np.float32)}, opset=opset)


@pytest.mark.parametrize("version", [8, 11, 13, 16, 18, 21, NEWEST])
def test_every_opset_becomes_17_and_says_the_same(tmp_path: Path, version: int) -> None:
    given = layer("Softmax", opset=version)
    path = save(given, tmp_path / "m.onnx")

    made = for_boards(read(path))

    assert (opset(made.proto), made.proto.ir_version, made.notes) == (17, 8, ())
    assert answers(made.proto, random(3, 6)) == pytest.approx(answers(given, random(3, 6)), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("Gelu", {}), ("Gelu", {"approximate": "tanh"}), ("Mish", {}), ("RMSNormalization", {})],
)
def test_an_operator_that_older_opsets_lack_is_taken_apart(kind: str, attributes: dict[str, object]) -> None:
    given = layer(kind, **attributes)

    made, _ = to_opset(given, 17)

    assert opset(made) <= 18
    assert kind not in {node.op_type for node in made.graph.node}
    assert answers(made, random(3, 6)) == pytest.approx(answers(given, random(3, 6)), abs=1e-5)


def test_a_model_too_new_for_onnx_runtime_answers_in_its_form_for_boards(tmp_path: Path) -> None:
    path, x = save(layer("Swish"), tmp_path / "m.onnx"), random(3, 6)
    with pytest.raises(Exception, match="Swish"):
        onnx_engine(path)

    answered = OnnxModel(path, unmeasured).answer([x])[0]

    h = x @ random(6, 6)
    assert answered == pytest.approx(h / (1 + np.exp(-h)), abs=1e-5)


def test_a_fixed_batch_is_refused_with_its_axis(tmp_path: Path) -> None:
    proto = layer("Relu", opset=17)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4

    with pytest.raises(ModelUnsupported, match=r"axis 0 of its input `x` .* has length 4"):
        OnnxModel(save(proto, tmp_path / "m.onnx"), unmeasured)


def test_what_keeps_a_model_from_opset_17_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        helper.make_node("BitwiseNot", ["i"], ["j"]),
        helper.make_node("Cast", ["j"], ["y"], to=TensorProto.FLOAT),
    ]
    path = save(model(nodes, {}, opset=NEWEST), tmp_path / "m.onnx")

    made = for_boards(read(path))

    assert opset(made.proto) == 18
    assert made.notes == (f"opset {NEWEST} became 18 and not 17: `BitwiseNot` has no form there",)


def test_the_ir_is_not_lowered_where_the_file_holds_newer_numbers() -> None:
    plain, packed = layer("Relu", opset=21), layer("Relu", opset=21)
    packed.graph.initializer.append(helper.make_tensor("four", TensorProto.INT4, [2], [1, 2]))
    for proto in (plain, packed):
        proto.ir_version = 11
        to_ir(proto, 8)

    assert (plain.ir_version, packed.ir_version) == (10, 11)


def test_functions_of_the_model_s_own_are_put_in_place(tmp_path: Path) -> None:
    double = helper.make_function(
        "own",
        "Double",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    node = helper.make_node("Double", ["x"], ["y"], domain="own")
    given = model([node], {}, functions=[double], domains={"own": 1})

    made = for_boards(read(save(given, tmp_path / "m.onnx"))).proto

    assert [node.op_type for node in made.graph.node] == ["Add"]
    assert answers(made, random(2, 6)) == pytest.approx(2 * random(2, 6))


def test_operators_of_other_domains_are_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Spin", ["x"], ["h"], domain="my.ops"),
        helper.make_node("Turn", ["h"], ["y"], domain="my.ops"),
    ]
    path = save(model(nodes, {}, domains={"my.ops": 1}), tmp_path / "m.onnx")

    with pytest.raises(ModelUnsupported, match=r"`my\.ops\.Spin`, `my\.ops\.Turn`"):
        read(path)


def test_a_weight_that_holds_nan_is_refused_by_name_and_infinity_is_not(tmp_path: Path) -> None:
    for value, name in ((np.nan, "bad.onnx"), (np.inf, "masked.onnx")):
        proto = layer("Relu", opset=17)
        weights = random(6, 6)
        weights[3, 3] = value
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
        save(proto, tmp_path / name)

    assert read(tmp_path / "masked.onnx").proto.graph.node
    with pytest.raises(ModelUnsupported, match="`w` holds NaN"):
        read(tmp_path / "bad.onnx")


def test_nan_inside_of_a_branch_is_found_too(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])
    constant = helper.make_tensor("c", TensorProto.FLOAT, [1], [float("nan")])
    branch = helper.make_graph([helper.make_node("Constant", [], ["z"], value=constant)], "b", [], [value])
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    path = save(model(nodes, {"yes": np.array(True)}, out=(1,)), tmp_path / "m.onnx")

    with pytest.raises(ModelUnsupported, match="NaN"):
        read(path)


def test_a_domain_that_is_listed_twice_is_listed_once(tmp_path: Path) -> None:
    proto = layer("Relu", opset=15)
    proto.opset_import.add(domain="ai.onnx", version=15)
    proto.opset_import.add(domain="", version=15)

    made = read(save(proto, tmp_path / "m.onnx")).proto

    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 15)]
    assert opset(for_boards(read(tmp_path / "m.onnx")).proto) == 17


def test_a_model_above_two_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(layer("Relu"), str(path), save_as_external_data=True, location="m.bin", size_threshold=0)
    os.truncate(tmp_path / "m.bin", MOST_FILE_BYTES)

    with pytest.raises(ModelUnsupported, match=r"2\.1 GB.*at most 2 GiB"):
        read(path)


def test_an_operator_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    path = save(layer("Erfc", opset=17), tmp_path / "m.onnx")

    with pytest.raises(ModelUnsupported, match="does not have: `Erfc`"):
        read(path)


@pytest.mark.parametrize(("version", "ir"), [(99, 8), (17, 99)])
def test_a_file_newer_than_this_machine_is_refused_with_the_opset_to_take(
    tmp_path: Path, version: int, ir: int
) -> None:
    proto = layer("Relu", opset=17)
    proto.opset_import[0].version, proto.ir_version = version, ir

    with pytest.raises(ModelUnsupported, match=f"opset {version} and IR {ir}.*knows them up to") as refused:
        read(save(proto, tmp_path / "m.onnx"))

    assert "opset 17" in refused.value.hint


def test_a_model_that_takes_nothing_or_text_is_refused(tmp_path: Path) -> None:
    text, nothing = layer("Relu", opset=17), layer("Relu", opset=17)
    text.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    nothing.graph.initializer.append(numpy_helper.from_array(random(3, 6), "x"))

    for proto, reason in ((text, "`x` is no array of numbers"), (nothing, "it takes no input")):
        with pytest.raises(ModelUnsupported, match=reason):
            read(save(proto, tmp_path / "m.onnx"))


def test_reading_changes_nothing_of_a_good_file(tmp_path: Path) -> None:
    given = digits_cnn()

    assert read(save(given, tmp_path / "m.onnx")).proto == given
