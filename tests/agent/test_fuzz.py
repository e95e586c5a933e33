"""Whatever JSON comes through the two doors: an answer, never a fault of the agent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.serving.messages import Request, Response
from agent.serving.routes import Routes
from tests.agent.boards import TestBoard
from tests.agent.routing import routes_of

NAMES = st.sampled_from(["x", "a", "b", "probabilities", "sum", "serving_default_keras_tensor:0"])
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
)
DATA = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=5), max_leaves=20) | st.lists(
    st.floats(-1, 1), min_size=64, max_size=64
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | NUMBERS,
        "shape": st.lists(st.integers(-1, 65) | NUMBERS, max_size=3) | NUMBERS,
        "datatype": st.sampled_from(["FP32", "INT8", "INT32", "BYTES", "BOOL"]) | NUMBERS,
        "data": DATA,
    },
)
V2 = st.fixed_dictionaries(
    {},
    optional={
        "id": NUMBERS,
        "inputs": st.lists(TENSOR | NUMBERS, max_size=3) | NUMBERS,
        "outputs": st.lists(TENSOR | NUMBERS, max_size=2) | NUMBERS,
    },
)
ROW = st.dictionaries(NAMES, DATA, max_size=3) | DATA
V1 = st.fixed_dictionaries(
    {}, optional={"instances": st.lists(ROW, max_size=3) | ROW, "inputs": ROW, "signature_name": NUMBERS}
)
SETTINGS = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    board = TestBoard(tmp_path_factory.mktemp("fuzz") / "board")
    return routes_of(
        board,
        {"digits": board.digits_onnx(), "small": board.digits_int8(), "two": board.sum_and_product()},
    )


def answered(routes: Routes, path: str, body: bytes) -> None:
    answer = routes(Request("POST", path, {}, body, True, 0.0))

    assert isinstance(answer, Response)
    said: Any = json.loads(answer.body)
    assert "the agent failed on this request" not in str(said.get("error"))
    assert answer.status in (200, 400) or "true shape" in said["error"]


@SETTINGS
@given(model=st.sampled_from(["digits", "small", "two"]), body=V2)
def test_v2(routes: Routes, model: str, body: Any) -> None:
    answered(routes, f"/v2/models/{model}/infer", json.dumps(body).encode())


@SETTINGS
@given(model=st.sampled_from(["digits", "small", "two"]), body=V1)
def test_v1(routes: Routes, model: str, body: Any) -> None:
    answered(routes, f"/v1/models/{model}:predict", json.dumps(body).encode())


@SETTINGS
@given(body=st.binary(max_size=200))
def test_bytes_that_are_no_json(routes: Routes, body: bytes) -> None:
    answered(routes, "/v2/models/digits/infer", body)
