"""What TensorFlow Serving's clients ask beside `:predict`: classes, values, metadata, versions and labels."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from agent.contract.codec import encode
from agent.contract.manifest import Step, Task, TensorSpec
from agent.contract.release import Generation, GenerationModel, ModelRole
from agent.transforms.golden import GoldenSet
from tests.agent.boards import DIGITS, MODELS, PROBABILITIES, TestBoard, digit_labels, digits
from tests.agent.conftest import RunningAgent

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
X = digits(3)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """`digits` twice, with labels, `plain` without, `half` and `total` that are regressions, `flags` of booleans."""
    folder = tmp_path_factory.mktemp("signatures")
    board = TestBoard(folder / "board")
    steps = {"postprocessing": [Step("top-k", {"k": 3})], "labels": NAMES}
    models = [
        GenerationModel("digits", "digits@1", _digits(board, "digits", **steps)),
        GenerationModel("digits", "digits@2", _digits(board, "digits"), role=ModelRole.CHALLENGER, share=0),
        GenerationModel("plain", "plain@1", _digits(board, "plain")),
        *(GenerationModel(name, f"{name}@1", _made(board, folder, name)) for name in GRAPHS),
    ]
    _serve(board, models)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        yield agent.ready()
    finally:
        agent.stop()


GRAPHS: Mapping[str, tuple[str, dict[str, Any], int, list[Any], list[Any], Task]] = {
    "half": ("Mul", {}, TensorProto.FLOAT, ["n"], ["n"], Task.REGRESSION),
    "total": ("ReduceSum", {"keepdims": 0}, TensorProto.FLOAT, ["n", 2, 3], ["n"], Task.REGRESSION),
    "flags": ("Cast", {"to": TensorProto.FLOAT}, TensorProto.BOOL, ["n", 2], ["n", 2], Task.TENSOR),
}


def _made(board: TestBoard, folder: Path, name: str) -> str:
    """A model of one operation, `half` of x, the `total` of x, or x as numbers."""
    op, attributes, element, taken, given, task = GRAPHS[name]
    constants = {
        "Mul": [helper.make_tensor("c", TensorProto.FLOAT, [], [0.5])],
        "ReduceSum": [helper.make_tensor("c", TensorProto.INT64, [2], [1, 2])],
        "Cast": [],
    }[op]
    node = helper.make_node(op, ["x", *(["c"] if constants else [])], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info("x", element, taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, given)],
        constants,
    )
    file = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    dtype = "bool" if element == TensorProto.BOOL else "float32"
    return board.bundle(
        name=name,
        model_file=file,
        golden=GoldenSet(inputs=(np.ones((2, *taken[1:]), dtype),)),
        inputs=[TensorSpec(name="x", dtype=dtype, shape=(-1, *taken[1:]))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=(-1, *given[1:]))],
        task=task,
    )


def _digits(board: TestBoard, name: str, **parts: Any) -> str:
    return board.bundle(
        name=name,
        model_file=MODELS / "digits.onnx",
        golden=GoldenSet(inputs=(digits(),)),
        inputs=[DIGITS],
        outputs=[PROBABILITIES],
        **parts,
    )


def _serve(board: TestBoard, models: list[GenerationModel]) -> None:
    folder = board.root / "generations" / "1"
    folder.mkdir()
    generation = Generation(number=1, runtime=board.runtime, models=tuple(models))
    (folder / "generation.json").write_bytes(encode(generation))
    board.link("current", 1)


def base64_of(array: Any) -> dict[str, str]:
    return {"b64": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def test_classes_have_the_releases_labels_best_first(serving: RunningAgent) -> None:
    body = {"signature_name": "classification", "examples": [{"x": row} for row in X.tolist()]}

    status, answer = serving.post("/v1/models/digits:classify", body)

    scores = serving.post("/v1/models/digits:predict", {"instances": X.tolist()})[1]["predictions"]
    assert status == 200
    assert [result[0][0] for result in answer["results"]] == [NAMES[label] for label in digit_labels(3)]
    for result, row in zip(answer["results"], scores, strict=True):
        assert [score for _, score in result] == sorted(row, reverse=True)[:3]


def test_without_labels_and_a_count_all_classes_come_in_the_models_order(serving: RunningAgent) -> None:
    answer = serving.post("/v1/models/plain:classify", {"examples": [{"x": X[0].tolist()}]})[1]

    scores = serving.post("/v1/models/plain:predict", {"instances": X[:1].tolist()})[1]["predictions"][0]
    assert answer == {"results": [[["", score] for score in scores]]}


def test_a_regression_gives_a_value_for_each_example(serving: RunningAgent) -> None:
    assert serving.post("/v1/models/half:regress", {"examples": [{"x": 1.0}, {"x": [4]}]}) == (
        200,
        {"results": [0.5, 2.0]},
    )
    flat = {"signature_name": "regression", "examples": [{"x": [1, 2, 3, 4, 5, 6]}]}
    assert serving.post("/v1/models/total:regress", flat) == (200, {"results": [21.0]})


def test_what_all_examples_share_stands_once(serving: RunningAgent) -> None:
    shared = {"context": {"x": [1, 2, 3, 4, 5, 6]}, "examples": [{}, {}]}

    assert serving.post("/v1/models/total:regress", shared) == (200, {"results": [21.0, 21.0]})


def test_a_path_may_name_a_version_or_a_label_and_the_verb_in_any_case(serving: RunningAgent) -> None:
    body = {"instances": X.tolist()}
    paths = (
        "digits",
        "digits/versions/1",
        "digits/versions/2",
        "digits/labels/stable",
        "digits/labels/canary",
    )

    answers = [serving.post(f"/v1/models/{path}:predict", body) for path in paths]

    assert answers == [answers[0]] * len(paths)
    assert answers[0][0] == 200
    assert serving.post("/V1/Models/digits:Predict", body) == answers[0]


def test_status_lists_all_versions_or_the_one_that_is_meant(serving: RunningAgent) -> None:
    def versions(path: str) -> list[str]:
        status, answer = serving.get(f"/v1/models/{path}")
        assert status == 200
        assert answer["name"], answer["ready"] == ("digits", True)
        return [each["version"] for each in answer["model_version_status"]]

    assert versions("digits") == ["2", "1"]
    assert versions("digits/versions/1") == ["1"]
    assert versions("digits/labels/canary") == ["2"]


def test_metadata_is_what_protocol_buffers_say(serving: RunningAgent) -> None:
    """As `MessageToJson` of TensorFlow's own `SignatureDef` writes it, with proto names and empty fields."""
    status, answer = serving.get("/v1/models/digits/versions/2/metadata")

    assert status == 200
    assert answer["model_spec"] == {"name": "digits", "signature_name": "", "version": "2"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"] == {
        "inputs": {"x": tensor("x", "DT_FLOAT", -1, 64)},
        "outputs": {"probabilities": tensor("probabilities", "DT_FLOAT", -1, 10)},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    assert signatures["classification"]["method_name"] == "tensorflow/serving/classify"
    assert signatures["classification"]["outputs"]["classes"]["dtype"] == "DT_STRING"


def tensor(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    dimensions = [{"size": str(length), "name": ""} for length in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": name}


def test_each_model_declares_what_its_task_means(serving: RunningAgent) -> None:
    def declared(model: str) -> list[str]:
        answer = serving.get(f"/v1/models/{model}/metadata")[1]
        return list(answer["metadata"]["signature_def"]["signature_def"])

    assert declared("digits") == ["serving_default", "classification"]
    assert declared("half") == declared("total") == ["serving_default", "regression"]
    assert declared("flags") == ["serving_default"]


def test_bytes_stand_for_a_sample_or_for_the_batch(serving: RunningAgent) -> None:
    expected = serving.post("/v1/models/digits:predict", {"instances": X.tolist()})[1]["predictions"]

    rows = serving.post("/v1/models/digits:predict", {"instances": [base64_of(row) for row in X]})
    named = serving.post("/v1/models/digits:predict", {"instances": [{"x": base64_of(row)} for row in X]})
    columns = serving.post("/v1/models/digits:predict", {"inputs": base64_of(X)})
    named_column = serving.post("/v1/models/digits:predict", {"inputs": {"x": base64_of(X)}})

    assert rows == named == (200, {"predictions": expected})
    assert columns == named_column == (200, {"outputs": expected})


def test_scalars_and_booleans_are_samples_too(serving: RunningAgent) -> None:
    assert serving.post("/v1/models/half:predict", {"instances": [1.0, 2, 5.0]}) == (
        200,
        {"predictions": [0.5, 1.0, 2.5]},
    )
    assert serving.post("/v1/models/flags:predict", {"instances": [[True, False]]}) == (
        200,
        {"predictions": [[1.0, 0.0]]},
    )


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (
            "flags:classify",
            {"examples": [{"x": [True, True]}]},
            "Expected classification signature method_name",
        ),
        ("digits:regress", {"examples": [{"x": [0] * 64}]}, "Expected regression signature method_name"),
        (
            "digits:classify",
            {"signature_name": "serving_default", "examples": [{}]},
            "Expected classification",
        ),
        (
            "digits:classify",
            {"signature_name": "other", "examples": [{}]},
            'Serving signature name: "other" not',
        ),
        (
            "digits:predict",
            {"signature_name": "classification", "instances": [1]},
            "Expected prediction signature",
        ),
        ("digits:predict", {"signature_name": 7, "instances": [1]}, "'signature_name' key must be a string"),
        ("digits:classify", {"examples": []}, "'examples' must be an array that is not empty"),
        ("digits:classify", {"examples": [1]}, "'examples' entry 0 must be an object of features"),
        ("digits:classify", {"examples": [{}]}, "the input 'x' is missing"),
        ("digits:classify", {"examples": [{"y": 1}]}, "'y' is no input of the model"),
        ("digits:classify", {"examples": [{}], "context": 1}, "'context' must be an object"),
        (
            "half:regress",
            {"examples": [{"x": 1}], "context": {"x": 1}},
            "the feature 'x' stands in 'context'",
        ),
        ("half:regress", {"examples": [{"x": [1, 2]}]}, "input 'x' must have the shape [-1]"),
        ("total:regress", {"examples": [{"x": [1, 2, 3]}]}, "input 'x' must have the shape [-1, 2, 3]"),
        ("half:predict", {"instances": [True]}, "`x` must hold numbers"),
        ("half:predict", {"instances": [1e39]}, "`x` holds numbers that float32 can't"),
        ("half:predict", {"instances": [None]}, "`x` must hold numbers"),
        ("flags:predict", {"instances": [[1, 0]]}, "`x` must hold true and false"),
        ("flags:predict", {"instances": [{"b64": "AgA="}]}, "`x` must hold true and false: bytes"),
        ("digits:predict", {"instances": [{"b64": "AAAA"}]}, "input 'x' takes 256 bytes a sample"),
        ("digits:predict", {"instances": [{"b64": "?"}]}, "`x`: unable to base64 decode"),
        ("digits:predict", {"instances": [{"b64": "AAAA"}, [0.0] * 64]}, "`x` is not formatted correctly"),
        (
            "digits/labels/none:predict",
            {"instances": [[0] * 64]},
            "Unrecognized servable version label: none",
        ),
    ],
)
def test_what_is_not_declared_or_not_right_is_refused(
    serving: RunningAgent, path: str, body: Any, words: str
) -> None:
    status, answer = serving.post(f"/v1/models/{path}", body)

    assert (status, answer["error"][: len(words)]) == (400, words)


def test_nobody_explains(serving: RunningAgent) -> None:
    assert serving.post("/v1/models/digits:explain", {"instances": [1]}) == (
        501,
        {"error": "no explainer is served for 'digits'"},
    )


def test_metrics_are_where_tf_serving_has_them(serving: RunningAgent) -> None:
    status, text = serving.get("/monitoring/prometheus/metrics")

    assert status == 200
    assert b"edge_agent_ready 1" in text
