from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.agent.boards import digit_labels, digits
from tests.agent.conftest import RunningAgent

X = [0.5] * 64
ROW = {"a": [1, 2, 3], "b": [1, 1, 1]}


def test_rows_and_columns_say_the_same(served: RunningAgent) -> None:
    images = digits().tolist()

    rows = served.post("/v1/models/digits:predict", {"instances": images})
    named = served.post("/v1/models/digits:predict", {"instances": [{"x": image} for image in images]})
    columns = served.post("/v1/models/digits/versions/3:predict", {"inputs": images})
    named_columns = served.post("/v1/models/digits:predict", {"inputs": {"x": images}})

    assert rows[0] == columns[0] == 200
    assert (
        rows[1]["predictions"]
        == columns[1]["outputs"]
        == named[1]["predictions"]
        == named_columns[1]["outputs"]
    )
    assert np.mean(np.argmax(rows[1]["predictions"], axis=1) == digit_labels()) > 0.85


def test_several_inputs_and_outputs_are_objects(served: RunningAgent) -> None:
    rows = served.post(
        "/v1/models/two:predict", {"instances": [ROW, ROW], "signature_name": "serving_default"}
    )
    columns = served.post("/v1/models/two:predict", {"inputs": {"a": [[1, 2, 3]], "b": [[1, 1, 1]]}})

    assert rows == (200, {"predictions": [{"sum": [2, 3, 4], "product": [1, 2, 3]}] * 2})
    assert columns == (200, {"outputs": {"sum": [[2, 3, 4]], "product": [[1, 2, 3]]}})


def test_int8_models_speak_real_numbers(served: RunningAgent) -> None:
    status, answer = served.post("/v1/models/small:predict", {"instances": [X]})

    assert status == 200
    assert math.isclose(sum(answer["predictions"][0]), 1, abs_tol=0.05)


def test_nan_is_taken_and_given(served: RunningAgent) -> None:
    body = json.dumps({"instances": [{"a": [math.nan, -math.inf, 1], "b": [1, 1, 1]}]}).encode()

    status, answer = served.post("/v1/models/two:predict", body)

    assert status == 200
    assert math.isnan(answer["predictions"][0]["sum"][0])
    assert answer["predictions"][0]["sum"][1] == -math.inf


def test_status_is_tf_servings_and_kserves(served: RunningAgent) -> None:
    assert served.get("/v1/models/digits") == (
        200,
        {
            "model_version_status": [
                {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ],
            "name": "digits",
            "ready": True,
        },
    )
    assert served.get("/v1/models")[1] == {"models": ["digits", "small", "two"]}


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        ("digits", {}, "the request must hold either 'instances' or 'inputs'"),
        ("digits", {"instances": [X], "inputs": [X]}, "the request must hold either 'instances' or 'inputs'"),
        ("digits", {"instances": []}, "'instances' must be an array that is not empty"),
        ("digits", {"instances": X}, "input 'x' must have the shape [-1, 64], found [64]"),
        ("digits", {"instances": [X[:63]]}, "input 'x' must have the shape [-1, 64], found [1, 63]"),
        ("digits", {"instances": [X, X[:63]]}, "`x` is ragged"),
        ("digits", {"instances": [["a"] * 64]}, "`x` must hold numbers"),
        ("digits", {"instances": [{"y": X}]}, "'y' is no input of the model; it takes x"),
        ("digits", {"instances": [{"x": X}, 1]}, "'instances' entry 1 must be an object"),
        ("digits", {"inputs": {}}, "the input 'x' is missing"),
        ("digits", {"inputs": 1}, "input 'x' must have the shape [-1, 64], found []"),
        (
            "digits",
            {"instances": [X], "signature_name": "other"},
            'Serving signature name: "other" not found',
        ),
        ("digits", [], "JSON Value is not an object"),
        ("two", {"inputs": [[1, 2, 3]]}, "'inputs' must be an object of the inputs' values"),
        ("two", {"instances": [{"a": [1, 2, 3]}]}, "the input 'b' is missing"),
        ("two", {"instances": [{"a": [1, 2, 3], "b": [0.5, 1, 1]}]}, "`b` must hold integers"),
        ("two", {"instances": [{"a": [1, 2, 3], "b": [2**40, 1, 1]}]}, "`b` holds numbers that int32 can't"),
    ],
)
def test_bad_input_says_what_is_wrong(served: RunningAgent, model: str, body: Any, words: str) -> None:
    status, answer = served.post(f"/v1/models/{model}:predict", body)

    assert status == 400
    assert answer["error"].startswith(words)


def test_an_unknown_model_is_not_found(served: RunningAgent) -> None:
    assert served.post("/v1/models/nope:predict", {"instances": [X]})[0] == 404
    assert served.get("/v1/models/nope")[0] == 404
    assert served.get("/v1/models/digits/versions/9")[0] == 404
    assert served.get("/v1/models/digits:predict")[0] == 405
