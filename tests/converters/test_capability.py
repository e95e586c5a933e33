"""What engine versions were measured to run: how the table is read, and what it says of files."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from agent.contract.manifest import EngineName, ModelFormat
from agent.contract.profile import version_key
from converters import requirements, tflite_file
from converters.capability.measured import FILES, Engine, Use, engine
from tests.conversion.digits import DATA
from tests.converters.small_models import classifier_onnx

FLOATS = "float32 > float32"
HYBRID = "float32 int8/channel float32 > float32"
ENGINE = Engine(
    name="made-up",
    versions=("1.1.0", "1.3.0", "2.0.0"),
    listed={"ADD": {3: "1.3.0", 5: "never"}, "opset": {20: "2.0.0"}},
    kernels={
        ("ADD", "int16 > int16"): {1: "1.1.0", 3: "2.0.0"},
        ("MATMUL", HYBRID): {1: "1.3.0", 4: "never"},
    },
    recipes={},
)


@pytest.mark.parametrize(
    ("use", "first"),
    [
        (Use("ADD", 2, FLOATS), "1.1.0"),
        (Use("ADD", 3, FLOATS), "1.3.0"),
        (Use("ADD", 4, FLOATS), "1.3.0"),
        (Use("ADD", 5, FLOATS), None),
        (Use("ADD", 9, FLOATS), None),
        (Use("ADD", 1, "int16 > int16"), "1.1.0"),
        (Use("ADD", 3, "int16 > int16"), "2.0.0"),
        (Use("opset", 19), "1.1.0"),
        (Use("opset", 21), "2.0.0"),
    ],
)
def test_an_operator_runs_from_where_both_its_version_and_its_types_do(use: Use, first: str | None) -> None:
    assert ENGINE.runs_from(use) == first


def test_what_nothing_is_known_of_is_allowed() -> None:
    assert ENGINE.runs_from(Use("TANH", 7, FLOATS)) == "1.1.0"
    assert ENGINE.runs_from(Use("ADD", 1, "bfloat16 > bfloat16")) == "1.1.0"


def test_of_versions_that_were_not_measured_on_these_types_the_worst_measured_one_counts() -> None:
    assert ENGINE.runs_from(Use("MATMUL", 1, HYBRID)) == "1.3.0"
    assert ENGINE.runs_from(Use("MATMUL", 2, HYBRID)) is None


@pytest.mark.parametrize(
    ("version", "lacks"),
    [("1.0.9", 2), ("1.1.0", 2), ("1.2.7", 2), ("1.3.0", 1), ("1.9.0", 1), ("2.0.0", 0), ("3.0.0", 0)],
)
def test_a_version_between_two_measured_ones_is_taken_for_the_older(version: str, lacks: int) -> None:
    uses = (Use("MATMUL", 1, HYBRID), Use("opset", 20))
    assert len(ENGINE.lacking(version, uses)) == lacks


def test_a_version_below_the_oldest_measured_one_runs_nothing() -> None:
    assert ENGINE.lacking("1.0.0", [Use("TANH", 1, FLOATS)]) == (Use("TANH", 1, FLOATS),)


def test_the_least_version_is_that_of_the_most_demanding_operator() -> None:
    assert ENGINE.least([]) == "1.1.0"
    assert ENGINE.least([Use("ADD", 3, FLOATS), Use("opset", 20)]) == "2.0.0"
    assert ENGINE.least([Use("ADD", 3, FLOATS), Use("ADD", 5, FLOATS)]) is None


@pytest.mark.parametrize("name", FILES)
def test_what_was_measured_can_be_read_and_names_only_measured_versions(name: EngineName) -> None:
    found = engine(name)
    versions = [version_key(version) for version in found.versions]
    assert versions == sorted(versions)
    assert len(versions) > 2
    named = {
        first for firsts in (*found.listed.values(), *found.kernels.values()) for first in firsts.values()
    }
    assert named <= {*found.versions, "never"}
    assert all(set(cells) == set(found.versions) for cells in found.recipes.values())


def test_a_float_file_runs_everywhere() -> None:
    path = DATA / "digits.tflite"
    uses = requirements.tflite_uses(tflite_file.read(path), path)
    assert requirements.engines(ModelFormat.TFLITE, uses) == {
        "litert": engine(EngineName.LITERT).versions[0],
        "tflite-runtime": engine(EngineName.TFLITE_RUNTIME).versions[0],
    }


@pytest.mark.parametrize("version", [1, 4, 9, 11, 12])
def test_a_quantizers_stamp_does_not_get_hybrid_weights_past_the_table(version: int) -> None:
    """tflite-runtime loads them with an old stamp and answers by chance."""
    uses = [Use("FULLY_CONNECTED", version, HYBRID)]
    assert "tflite-runtime" not in requirements.engines(ModelFormat.TFLITE, uses)
    assert "litert" in requirements.engines(ModelFormat.TFLITE, uses)


@pytest.mark.parametrize(
    ("opset", "ir", "least"),
    [
        (17, 8, "1.16.0"), (19, 9, "1.16.0"), (20, 9, "1.17.0"), (21, 10, "1.18.0"), (22, 10, "1.21.0"),
        (17, 11, "1.23.0"),
    ],
)  # fmt: skip
def test_opset_and_ir_decide_the_least_onnx_runtime(tmp_path: Path, opset: int, ir: int, least: str) -> None:
    proto = onnx.load(str(classifier_onnx(tmp_path / "m.onnx", opset=opset, ir_version=ir)))
    found = requirements.engines(ModelFormat.ONNX, requirements.onnx_uses(proto))
    assert found == {"onnxruntime": least}


def test_an_opset_beyond_all_that_was_measured_is_run_by_none() -> None:
    assert requirements.engines(ModelFormat.ONNX, [Use("opset", 99)]) == {}


def test_operators_of_a_branchs_body_are_counted() -> None:
    def body(name: str) -> onnx.GraphProto:
        node = helper.make_node(name, ["x"], [f"{name}-y"])
        value = helper.make_tensor_value_info(f"{name}-y", TensorProto.FLOAT, [1])
        return helper.make_graph([node], name, [], [value])

    branch = helper.make_node("If", ["c"], ["y"], then_branch=body("Relu"), else_branch=body("Mish"))
    graph = helper.make_graph(
        [branch],
        "g",
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert requirements.onnx_uses(proto) == (
        Use("opset", 18), Use("ir", 8),
        Use("If", 16, ""), Use("Mish", 18, FLOATS), Use("Relu", 14, FLOATS),
    )  # fmt: skip
