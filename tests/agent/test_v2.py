from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.agent.boards import digit_labels, digits
from tests.agent.conftest import RunningAgent

X = [0.5] * 64
INPUT = "serving_default_keras_tensor:0"


def infer(
    name: str = "x", shape: Any = (1, 64), datatype: str = "FP32", data: Any = X, **more: Any
) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": list(shape), "datatype": datatype, "data": data}], **more}


def test_metadata_is_what_tritons_clients_read(served: RunningAgent) -> None:
    assert served.get("/v2/models/digits") == (
        200,
        {
            "name": "digits",
            "versions": ["3"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
        },
    )
    assert served.get("/v2")[1]["name"] == "edge"


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready", "/"])
def test_health(served: RunningAgent, path: str) -> None:
    assert served.get(path)[0] == 200


def test_digits_are_recognised_by_the_float_and_by_the_int8_model(served: RunningAgent) -> None:
    images, labels = digits(), digit_labels()

    for model, name in (("digits", "x"), ("small", INPUT)):
        status, answer = served.post(
            f"/v2/models/{model}/infer", infer(name, images.shape, data=images.ravel().tolist())
        )
        scores = np.array(answer["outputs"][0]["data"]).reshape(answer["outputs"][0]["shape"])

        assert (status, answer["outputs"][0]["datatype"]) == (200, "FP32")
        assert np.mean(np.argmax(scores, axis=1) == labels) > 0.85
        assert np.allclose(scores.sum(axis=1), 1, atol=0.05)


def test_nested_data_version_and_id(served: RunningAgent) -> None:
    flat = served.post("/v2/models/digits/infer", infer())[1]
    status, nested = served.post("/v2/models/digits/versions/3/infer", infer(data=[X], id="abc"))

    assert status == 200
    assert nested == {"id": "abc", **flat}


def test_stored_integers_are_taken_as_they_are(served: RunningAgent) -> None:
    real = served.post("/v2/models/small/infer", infer(INPUT, data=[0.0] * 64))[1]
    stored = served.post("/v2/models/small/infer", infer(INPUT, datatype="INT8", data=[-128] * 64))[1]

    assert real["outputs"] == stored["outputs"]


def test_two_inputs_and_the_outputs_that_are_asked_for(served: RunningAgent) -> None:
    a = {"name": "a", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
    b = {"name": "b", "shape": [2, 3], "datatype": "INT32", "data": [2] * 6}

    both = served.post("/v2/models/two/infer", {"inputs": [b, a]})[1]["outputs"]
    one = served.post("/v2/models/two/infer", {"inputs": [a, b], "outputs": [{"name": "product"}]})[1][
        "outputs"
    ]

    assert [output["name"] for output in both] == ["sum", "product"]
    assert both[0]["data"] == [3, 4, 5, 6, 7, 8]
    assert one == [both[1]]
    assert one[0]["data"] == [2, 4, 6, 8, 10, 12]


def test_nan_and_infinity_go_in_and_out(served: RunningAgent) -> None:
    a = {"name": "a", "shape": [1, 3], "datatype": "FP32", "data": [math.nan, math.inf, 1]}
    b = {"name": "b", "shape": [1, 3], "datatype": "INT32", "data": [1, 1, 1]}

    status, answer = served.post("/v2/models/two/infer", json.dumps({"inputs": [a, b]}).encode())

    assert status == 200
    assert math.isnan(answer["outputs"][0]["data"][0])
    assert answer["outputs"][0]["data"][1:] == [math.inf, 2]


BAD = {
    "unknown input": (
        infer("zz"),
        400,
        "unexpected inference input 'zz' for model 'digits'",
    ),
    "missing input": (
        {"inputs": []},
        400,
        "expected 1 inputs but got 0 inputs for model 'digits'. Got input(s) [], but missing required input(s) ['x']. "
        "Please provide all required input(s).",
    ),
    "wrong shape": (
        infer(shape=[1, 63], data=X[:63]),
        400,
        "[request id: <id_unknown>] unexpected shape for input 'x' for model 'digits'. Expected [-1,64], got [1,63]",
    ),
    "rank": (infer(shape=[64]), 400, "[request id: <id_unknown>] unexpected shape for input 'x' for model 'digits'. "
             "Expected [-1,64], got [64]"),
    "empty batch": (infer(shape=[0, 64], data=[]), 400, "[request id: <id_unknown>] unexpected shape for input 'x' "
                    "for model 'digits'. Expected [-1,64], got [0,64]"),
    "shape is no list": (infer() | {"inputs": [{"name": "x", "shape": 64, "datatype": "FP32", "data": X}]}, 400,
                         "Unable to parse 'shape': it must be an array of integers"),
    "wrong datatype": (
        infer(datatype="INT32", data=[1] * 64),
        400,
        "inference input data-type is 'INT32', model expects 'FP32' for 'digits'",
    ),
    "no datatype of the protocol": (
        infer(datatype="float32"),
        400,
        "inference input data-type is 'float32', model expects 'FP32' for 'digits'",
    ),
    "too little data": (
        infer(data=X[:63]),
        500,
        "Unable to parse 'data': Shape does not match true shape of 'data' field",
    ),
    "ragged data": (infer(shape=[2, 64], data=[X, X[:63]]), 500,
                    "Unable to parse 'data': Shape does not match true shape of 'data' field"),
    "text for numbers": (infer(data=["1.5"] * 64), 400, "Unable to parse 'data': must be real number, not str"),
    "null for numbers": (infer(data=[None] * 64), 400, "Unable to parse 'data': must be real number"),
    "no data": ({"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32"}]}, 400,
                "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
                "'shared_memory_region' in 'parameters'. But no field is set"),
    "twice": ({"inputs": infer()["inputs"] * 2}, 400, "input 'x' stands twice in the request for model 'digits'"),
    "unknown output": (infer(outputs=[{"name": "zz"}]), 400,
                       "unexpected inference output 'zz' for model 'digits'"),
    "no inputs": ({}, 400, "Unable to parse 'inputs': it must be an array of objects"),
    "no object": ([1], 400, "failed to parse the request JSON buffer: the request must be an object"),
    "bad JSON": (b'{"inputs": [', 400, "failed to parse the request JSON buffer: "),
    "bad JSON with NaN": (b'{"inputs": [NaN', 400, "failed to parse the request JSON buffer: "),
    "deep JSON": (b"[" * 100_000, 400, "failed to parse the request JSON buffer: "),
    "no UTF-8": (b'{"inputs": "\xff"}', 400, "failed to parse the request JSON buffer: "),
    "nothing": (b"", 400, "failed to parse the request JSON buffer: "),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "words"), BAD.values(), ids=BAD)
def test_bad_input_says_what_is_wrong(served: RunningAgent, body: Any, status: int, words: str) -> None:
    found = served.post("/v2/models/digits/infer", body)

    assert found[0] == status
    assert found[1]["error"].startswith(words)
    assert served.post("/v2/models/digits/infer", infer())[0] == 200


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_model_that_stores_integers_takes_no_nan(served: RunningAgent, value: str) -> None:
    body = json.dumps(infer(INPUT)).replace("0.5", value, 1).encode()

    assert served.post("/v2/models/small/infer", body) == (
        400,
        {"error": f"input '{INPUT}' holds NaN or Infinity, its tensor stores int8"},
    )


def test_integers_that_do_not_fit_are_refused(served: RunningAgent) -> None:
    status, answer = served.post("/v2/models/small/infer", infer(INPUT, datatype="INT8", data=[128] * 64))

    assert status == 400
    assert "maximum" in answer["error"]


def test_inputs_of_different_batches_are_refused(served: RunningAgent) -> None:
    a = {"name": "a", "shape": [2, 3], "datatype": "FP32", "data": [1] * 6}
    b = {"name": "b", "shape": [1, 3], "datatype": "INT32", "data": [2] * 3}

    assert served.post("/v2/models/two/infer", {"inputs": [a, b]}) == (
        400,
        {"error": "the inputs for model 'two' have different batch sizes"},
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/v2/models/nope/infer", 404, "Request for unknown model: 'nope' is not found"),
        ("GET", "/v2/models/nope", 404, "Request for unknown model: 'nope' is not found"),
        ("POST", "/v2/models/digits/versions/9/infer", 404,
         "Request for unknown model: 'digits' version 9 is not found"),
        ("GET", "/v2/models/digits/infer", 405, "Method Not Allowed"),
        ("POST", "/v2/health/live", 405, "Method Not Allowed"),
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/v2/models/../../etc/passwd", 404, "Not Found"),
        ("GET", "/v2/models/%2e%2e%2f/ready", 404, "Not Found"),
    ],
)  # fmt: skip
def test_wrong_paths_and_methods(
    served: RunningAgent, method: str, path: str, status: int, error: str
) -> None:
    assert served.request(method, path)[:2] == (status, {"error": error})
