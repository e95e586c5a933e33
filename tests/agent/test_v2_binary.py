"""The binary tensor extension, encoded and decoded by NVIDIA's own code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.contract.manifest import Task, TensorSpec
from agent.serving.messages import Request, Response
from agent.serving.routes import Routes
from agent.transforms.golden import GoldenSet
from tests.agent.boards import TestBoard, digits
from tests.agent.routing import routes_of

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

DTYPES = {
    "bool": "BOOL", "uint8": "UINT8", "int16": "INT16", "uint64": "UINT64", "float16": "FP16", "float64": "FP64",
}  # fmt: skip
LABELS = ["zero", "one", "two"]
X = digits(1)
SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def write_echo(path: Path) -> None:
    """A model that gives back what it gets, one tensor of each of `DTYPES`."""
    ends = [
        [
            onnx.helper.make_tensor_value_info(
                f"{end}_{dtype}", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", 3]
            )
            for dtype in DTYPES
        ]
        for end in ("in", "out")
    ]
    nodes = [onnx.helper.make_node("Identity", [f"in_{dtype}"], [f"out_{dtype}"]) for dtype in DTYPES]
    graph = onnx.helper.make_graph(nodes, "echo", *ends)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    folder = tmp_path_factory.mktemp("binary")
    board = TestBoard(folder / "board")
    write_echo(folder / "echo.onnx")
    echo = board.bundle(
        name="echo",
        model_file=folder / "echo.onnx",
        golden=GoldenSet(inputs=tuple(np.zeros((1, 3), dtype) for dtype in DTYPES)),
        inputs=[TensorSpec(name=f"in_{dtype}", dtype=dtype, shape=(-1, 3)) for dtype in DTYPES],
        outputs=[TensorSpec(name=f"out_{dtype}", dtype=dtype, shape=(-1, 3)) for dtype in DTYPES],
        task=Task.TENSOR,
    )
    return routes_of(board, {
        "echo": echo, "digits": board.digits_onnx(labels=LABELS), "small": board.digits_int8(),
        "two": board.sum_and_product(),
    })  # fmt: skip


def asked(routes: Routes, model: str, body: bytes, length: int | bytes | None = None) -> Response:
    headers = {} if length is None else {b"inference-header-content-length": str(length).encode()}
    if isinstance(length, bytes):
        headers = {b"inference-header-content-length": length}
    answer = routes(Request("POST", f"/v2/models/{model}/infer", headers, body, True, 0.0))
    assert isinstance(answer, Response)
    return answer


def told(answer: Response) -> str:
    return str(json.loads(answer.body)["error"])


def tensor(name: str, values: Any, *, binary: bool = True, datatype: str | None = None) -> Any:
    made = triton.InferInput(name, values.shape, datatype or DTYPES.get(str(values.dtype), "FP32"))
    return made.set_data_from_numpy(values, binary_data=binary)


def encoded(inputs: list[Any], **more: Any) -> tuple[bytes, int | None]:
    body, length = triton.InferenceServerClient.generate_request_body(inputs, **more)
    return bytes(body), length


def decoded(answer: Response) -> Any:
    assert answer.status == 200, answer.body
    length = dict(answer.headers).get(b"Inference-Header-Content-Length")
    return triton.InferResult.from_response_body(answer.body, header_length=length and int(length))


BATCH = st.integers(1, 3).flatmap(
    lambda count: st.fixed_dictionaries({dtype: arrays.arrays(dtype, (count, 3)) for dtype in DTYPES})
)


@SETTINGS
@given(
    values=BATCH,
    order=st.permutations(list(DTYPES)),
    as_bytes=st.sets(st.sampled_from(list(DTYPES))),
    back_as_bytes=st.sets(st.sampled_from(list(DTYPES))) | st.none(),
)
def test_what_a_client_encodes_comes_back_the_same(
    routes: Routes, values: Any, order: list[str], as_bytes: set[str], back_as_bytes: set[str] | None
) -> None:
    inputs = [tensor(f"in_{dtype}", values[dtype], binary=dtype in as_bytes) for dtype in order]
    outputs = back_as_bytes and [
        triton.InferRequestedOutput(f"out_{dtype}", binary_data=dtype in back_as_bytes) for dtype in DTYPES
    ]

    result = decoded(asked(routes, "echo", *encoded(inputs, outputs=outputs or None, request_id="7")))

    assert result.get_response()["id"] == "7"
    for dtype in DTYPES:
        found = result.as_numpy(f"out_{dtype}")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values[dtype])


@SETTINGS
@given(data=st.data())
def test_no_cut_and_no_lie_about_sizes_is_more_than_a_refusal(routes: Routes, data: st.DataObject) -> None:
    a, b = np.ones((1, 3), np.float32), np.ones((1, 3), np.int32)
    body, length = encoded([tensor("a", a), tensor("b", b, datatype="INT32")])
    assert length is not None
    document = json.loads(body[:length])
    size = st.integers(-1, 30) | st.sampled_from([2**31, 2**63, 2**70, 0.5, None, "12", True])
    for item in document["inputs"]:
        if data.draw(st.booleans()):
            item["parameters"]["binary_data_size"] = data.draw(size)
        if data.draw(st.booleans()):
            item["shape"] = data.draw(st.lists(st.sampled_from([-1, 0, 1, 3, 2**62, 2**70]), max_size=3))
    head = json.dumps(document).encode()
    cut = (head + body[length:])[: data.draw(st.integers(0, len(head) + 30))] + data.draw(
        st.binary(max_size=2)
    )
    said = data.draw(st.just(len(head)) | st.integers(-1, 500) | st.binary(max_size=3))

    answer = asked(routes, "two", cut, said)

    assert answer.status in (200, 400), answer.body
    if answer.status == 200:
        assert decoded(answer).as_numpy("sum").shape == (1, 3)


def test_shorter_floats_become_those_of_the_model(routes: Routes) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    wanted = decoded(asked(routes, "digits", *encoded([tensor("x", X)]))).as_numpy("probabilities")

    for dtype, datatype in ((np.float16, "FP16"), (ml_dtypes.bfloat16, "BF16")):
        body = encoded([tensor("x", X.astype(dtype), datatype=datatype)])
        found = decoded(asked(routes, "digits", *body)).as_numpy("probabilities")
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_a_body_that_is_one_tensor_and_nothing_else(routes: Routes) -> None:
    wanted = decoded(asked(routes, "digits", *encoded([tensor("x", X)]))).as_numpy("probabilities")

    found = asked(routes, "digits", X.tobytes(), 0)

    assert found.content_type == b"application/octet-stream"
    np.testing.assert_array_equal(decoded(found).as_numpy("probabilities"), wanted)
    assert found.body.endswith(wanted.tobytes())
    assert told(asked(routes, "digits", X.tobytes()[:-1], 0)) == (
        "[request id: <id_unknown>] input byte size mismatch for input 'x' for model 'digits'. Expected 256, got 255"
    )
    assert told(asked(routes, "two", bytes(24), 0)).startswith("Raw request must only have 1 input")


def test_the_best_classes_with_their_labels(routes: Routes) -> None:
    images = digits(2)
    scores = decoded(asked(routes, "digits", *encoded([tensor("x", images)]))).as_numpy("probabilities")

    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)]
        found = decoded(asked(routes, "digits", *encoded([tensor("x", images)], outputs=outputs)))
        classes = found.as_numpy("probabilities")
        assert classes.shape == (2, 3)
        for row, best in zip(scores, classes, strict=True):
            order = np.argsort(-row)[:3]
            assert [str(each, "utf-8") if binary else each for each in best] == [
                f"{row[index]:f}:{index}" + (f":{LABELS[index]}" if index < len(LABELS) else "")
                for index in order
            ]


def test_numbers_of_an_output_that_stores_integers_are_real_ones(routes: Routes) -> None:
    name = "serving_default_keras_tensor:0"
    result = decoded(asked(routes, "small", *encoded([tensor(name, X)])))

    (output,) = result.get_response()["outputs"]
    assert output["datatype"] == "FP32"
    assert abs(result.as_numpy(output["name"]).sum() - 1) < 0.05
    nan = X.copy()
    nan[0, 5] = np.nan
    assert told(asked(routes, "small", *encoded([tensor(name, nan)]))) == (
        f"input '{name}' holds NaN or Infinity, its tensor stores int8"
    )


def a_tensor(**more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [1, 64], **more}


BAD: dict[str, tuple[Any, Any, bytes, str]] = {
    "more bytes": (a_tensor(parameters={"binary_data_size": 256}), {}, bytes(257),
                   "unexpected additional input data for model 'digits'"),
    "fewer bytes": (a_tensor(parameters={"binary_data_size": 256}), {}, bytes(250),
                    "unexpected size for input 'x', expecting 6 additional bytes for model 'digits'"),
    "wrong size": (a_tensor(parameters={"binary_data_size": 252}), {}, bytes(252),
                   "[request id: 7] input byte size mismatch for input 'x' for model 'digits'. Expected 256, got 252"),
    "negative size": (a_tensor(parameters={"binary_data_size": -1}), {}, b"", "Unable to parse 'binary_data_size'"),
    "both": (a_tensor(parameters={"binary_data_size": 256}, data=[0.5] * 64), {}, bytes(256),
             "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
             "'shared_memory_region' in 'parameters'. But set 'data' 'binary_data_size'"),
    "shared memory": (a_tensor(parameters={"shared_memory_region": "r"}), {}, b"", "shared memory is not served"),
    "strings": (a_tensor(datatype="BYTES", parameters={"binary_data_size": 8}), {}, bytes(8),
                "inference input data-type is 'BYTES', model expects 'FP32' for 'digits'"),
    "BF16 in JSON": (a_tensor(datatype="BF16", data=[0.5] * 64), {}, b"",
                     "receiving BF16 data via JSON is not supported. Please use the binary data format for input x"),
    "sequence": (a_tensor(data=[0.5] * 64), {"parameters": {"sequence_id": 3}}, b"", "sequences are not served"),
    "reserved": (a_tensor(data=[0.5] * 64), {"parameters": {"triton_x": 3}}, b"",
                 "parameter keys starting with 'triton_' are reserved"),
    "timeout": (a_tensor(data=[0.5] * 64), {"parameters": {"timeout": -3}}, b"", "Unable to parse 'timeout'"),
    "priority": (a_tensor(data=[0.5] * 64), {"parameters": {"priority": True}}, b"", "Unable to parse 'priority'"),
    "parameters": (a_tensor(data=[0.5] * 64), {"parameters": [1]}, b"", "Unable to parse 'parameters'"),
    "binary_data_output": (a_tensor(data=[0.5] * 64), {"parameters": {"binary_data_output": 1}}, b"",
                           "Unable to parse 'binary_data_output'"),
    "binary_data": (a_tensor(data=[0.5] * 64),
                    {"outputs": [{"name": "probabilities", "parameters": {"binary_data": 1}}]}, b"",
                    "Unable to parse 'binary_data'"),
    "classification": (a_tensor(data=[0.5] * 64),
                       {"outputs": [{"name": "probabilities", "parameters": {"classification": "2"}}]}, b"",
                       "Unable to set 'classification'"),
}  # fmt: skip


@pytest.mark.parametrize(("item", "more", "rest", "words"), BAD.values(), ids=BAD)
def test_bad_requests_are_told_in_tritons_words(
    routes: Routes, item: Any, more: Any, rest: bytes, words: str
) -> None:
    head = json.dumps({"id": "7", "inputs": [item], **more}).encode()

    answer = asked(routes, "digits", head + rest, len(head))

    assert answer.status == 400
    assert told(answer).startswith(words)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"300", "inference header size should be in range (0, 2), got: 300"),
        (b"9" * 5000, "Unable to parse Inference-Header-Content-Length, got: 999"),
        (b"-1", "Unable to parse Inference-Header-Content-Length, got: -1"),
        (b"\xff", "Unable to parse Inference-Header-Content-Length, got: "),
    ],
)
def test_the_length_of_the_json_is_a_number_within_the_body(
    routes: Routes, header: bytes, words: str
) -> None:
    answer = asked(routes, "digits", b"{}", header)

    assert answer.status == 400
    assert told(answer).startswith(words)


def test_a_request_that_comes_too_late_is_refused_as_triton_does(routes: Routes) -> None:
    body, length = encoded([tensor("x", X)], timeout=1)  # of a microsecond, long ago
    answer = asked(routes, "digits", body, length)

    assert answer.status == 503
    assert "Request timeout expired" in told(answer)
