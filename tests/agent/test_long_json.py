"""JSON of many numbers: it is read in a thread, and whoever else asks meanwhile is answered."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from agent.contract.errors import Overloaded
from agent.serving.apart import LONG_BYTES, WAITING, Apart
from agent.serving.messages import Request, Response, parse_json
from agent.serving.routes import Routes
from tests.agent.boards import TestBoard, digits
from tests.agent.conftest import RunningAgent
from tests.agent.routing import answered, routes_of
from tests.agent.test_hostile import Other

ROWS = np.resize(digits(40), (400, 64))
PREDICT, CLASSIFY, INFER = (
    "/v1/models/digits:predict",
    "/v1/models/digits:classify",
    "/v2/models/digits/infer",
)


def predict(rows: Any = ROWS) -> bytes:
    return json.dumps({"instances": rows.tolist()}).encode()


def classify() -> bytes:
    return json.dumps({"examples": [{"x": row} for row in ROWS.tolist()]}).encode()


def infer() -> bytes:
    tensor = {"name": "x", "shape": ROWS.shape, "datatype": "FP32", "data": ROWS.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    board = TestBoard(tmp_path_factory.mktemp("long") / "board")
    return routes_of(board, {"digits": board.digits_onnx()})


def asked(routes: Routes, path: str, body: bytes) -> Response | Awaitable[Response]:
    return routes(Request("POST", path, {}, body, True, 0.0))


@pytest.mark.parametrize(("path", "body"), [(PREDICT, predict()), (CLASSIFY, classify()), (INFER, infer())])
def test_others_are_answered_while_it_is_read(routes: Routes, path: str, body: bytes) -> None:
    assert len(body) > LONG_BYTES
    small = predict(digits(1))

    async def run() -> tuple[Response, int]:
        outcome = asked(routes, path, body)
        assert not isinstance(outcome, Response)
        task, meanwhile = asyncio.ensure_future(outcome), 0
        await asyncio.sleep(0)
        while not task.done():
            answer = asked(routes, PREDICT, small)
            assert isinstance(answer, Response)
            meanwhile += answer.status == 200
            await asyncio.sleep(0)
        return await task, meanwhile

    answer, meanwhile = asyncio.run(run())
    assert answer.status == 200, answer.body[:300]
    assert meanwhile > 0


def test_it_is_answered_as_short_json_is(routes: Routes) -> None:
    async def run() -> list[Any]:
        outcome = asked(routes, PREDICT, predict())
        assert not isinstance(outcome, Response)
        return list(json.loads((await outcome).body)["predictions"])

    alone = asked(routes, PREDICT, predict(digits(1)))
    assert isinstance(alone, Response)
    np.testing.assert_allclose(asyncio.run(run())[0], json.loads(alone.body)["predictions"][0], atol=1e-6)


def test_what_is_wrong_with_it_is_said(routes: Routes) -> None:
    async def run(path: str, body: bytes) -> Response:
        return await answered(asked(routes, path, body))

    for path in (PREDICT, CLASSIFY, INFER):
        answer = asyncio.run(run(path, b'{"instances": [' + b"[0.5]," * LONG_BYTES))
        assert answer.status == 400
        assert b"parse" in answer.body


def test_how_many_may_wait_is_bounded() -> None:
    async def run() -> int:
        apart = Apart()
        many = (apart.read("digits", lambda: Response(), lambda read: read) for _ in range(WAITING + 5))
        found = await asyncio.gather(*many, return_exceptions=True)
        return sum(isinstance(one, Overloaded) for one in found)

    assert asyncio.run(run()) == 5


def test_infinite_numbers_are_read_in_long_json_too() -> None:
    found = parse_json(b"[" + b"0.25,7,-Infinity," * 50_000 + b"NaN]")

    assert found[:3] == [0.25, 7, -math.inf]
    assert math.isnan(found[-1])
    assert type(found[1]) is int


def test_clients_that_send_nothing_else_do_not_keep_another_from_its_answers(served: RunningAgent) -> None:
    other, body = Other(served), predict(np.resize(digits(40), (2_000, 64)))
    with ThreadPoolExecutor(2) as pool:
        floods = [pool.submit(served.post, PREDICT, body) for _ in range(4)]
        meanwhile = 0
        while not all(flood.done() for flood in floods):
            assert other.is_served()
            meanwhile += 1
        assert {flood.result()[0] for flood in floods} <= {200, 503}
    assert meanwhile > 0
