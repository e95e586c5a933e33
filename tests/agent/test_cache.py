"""Answers that are kept: given again for the same bytes to the same model, bounded in bytes, gone with their model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.metrics import Exposition, expose_models
from agent.serving.cache import ENTRY_BYTES, ResultCache
from agent.serving.catalog import Catalog
from agent.serving.messages import Request, Response
from agent.serving.pace import Curve
from agent.serving.routes import Routes
from agent.serving.served import UNLOADED, Served
from tests.agent.boards import TestBoard, digits
from tests.agent.routing import QUICK, answered, routes_to, served_of

Array = NDArray[np.float32]
INFER = "/v2/models/digits/infer"


def outputs(number: float, count: int = 25) -> list[Array]:
    return [np.full((1, count), number, np.float32)]


def test_what_is_kept_is_found_by_the_exact_bytes_type_and_shape_and_by_the_model() -> None:
    cache, asked = ResultCache(1 << 20), [digits(1)]
    cache.keep(cache.key("a", asked), outputs(1))

    found = cache.find(cache.key("a", [digits(1)]))
    assert found is not None
    np.testing.assert_array_equal(found, outputs(1))
    other = digits(1)
    other[0, 0] = np.nextafter(other[0, 0], 1)
    for inputs in ([other], [asked[0].reshape(64, 1)], [asked[0].view(np.int32)], [*asked, *asked]):
        assert cache.find(cache.key("a", inputs)) is None
    assert cache.find(cache.key("b", asked)) is None


def test_what_was_not_asked_for_longest_goes_first_and_the_bytes_stay_within_the_limit() -> None:
    each = 100 + ENTRY_BYTES
    cache = ResultCache(3 * each)
    asked = [[np.full((1, 4), number, np.float32)] for number in range(4)]
    for number in range(3):
        cache.keep(cache.key("a", asked[number]), outputs(number))
    cache.find(cache.key("a", asked[0]))
    cache.keep(cache.key("a", asked[3]), outputs(3))
    cache.keep(cache.key("a", [digits(1)]), outputs(9, count=1000))  # larger than all that there may be

    assert [cache.find(cache.key("a", one)) is not None for one in asked] == [True, False, True, True]
    assert cache.find(cache.key("a", [digits(1)])) is None
    assert cache.size_bytes == 3 * each
    cache.retain({"b"})
    assert (cache.size_bytes, cache.find(cache.key("a", asked[0]))) == (0, None)


def test_an_answer_out_of_a_batch_does_not_keep_the_whole_batch_and_is_not_written_to() -> None:
    cache, batch = ResultCache(1 << 20), np.zeros((1000, 4), np.float32)
    cache.keep(cache.key("a", [digits(1)]), [batch[:1]])

    found = cache.find(cache.key("a", [digits(1)]))
    assert found is not None
    assert found[0].base is None
    with pytest.raises(ValueError, match="read-only"):
        found[0] += 1


@pytest.fixture
def board(tmp_path: Path) -> TestBoard:
    return TestBoard(tmp_path / "board")


def post(routes: Routes, *rows: Array) -> list[Response]:
    """The answers to these, one request after the other."""

    async def ask(row: Array) -> Response:
        tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": row.ravel().tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()
        return await answered(routes(Request("POST", INFER, {}, body, True, 0.0)))

    async def ask_all() -> list[Response]:
        return [await ask(row) for row in rows]

    return asyncio.run(ask_all())


@pytest.mark.parametrize("curve", [QUICK, Curve(0.0, 0.01)], ids=["on the event loop", "in its own thread"])
def test_the_same_request_again_is_answered_without_a_run_and_counted(board: TestBoard, curve: Curve) -> None:
    served = served_of(board, {"digits": board.digits_onnx()}, curve)
    routes = routes_to(served, ResultCache(1 << 20))
    one, two = digits(2)

    answers = post(routes, one, two, one, one)

    assert [answer.status for answer in answers] == [200] * 4
    assert answers[0].body == answers[2].body == answers[3].body != answers[1].body
    metrics = served[0].metrics
    assert (metrics.hits, metrics.misses, metrics.batches, metrics.requests) == (2, 2, 2, 4)
    text = _text(served)
    assert b'nv_cache_num_hits_per_model{model="digits",version="1"} 2\n' in text
    assert b'nv_cache_num_misses_per_model{model="digits",version="1"} 2\n' in text
    stats = routes(Request("GET", "/v2/models/digits/stats", {}, b"", True, 0.0))
    assert isinstance(stats, Response)
    told = json.loads(stats.body)["model_stats"][0]["inference_stats"]
    assert (told["cache_hit"]["count"], told["cache_miss"]["count"]) == (2, 2)


def test_unless_the_board_says_so_nothing_is_kept(board: TestBoard) -> None:
    served = served_of(board, {"digits": board.digits_onnx()})
    routes = routes_to(served)

    post(routes, digits(1), digits(1))

    assert (served[0].metrics.hits, served[0].metrics.misses, served[0].metrics.batches) == (0, 0, 2)
    assert b"nv_cache" not in _text(served)


def test_what_a_model_answered_goes_when_it_is_unloaded(board: TestBoard) -> None:
    cache = ResultCache(1 << 20)
    served = served_of(board, {"digits": board.digits_onnx()})
    catalog = Catalog(cache=cache)
    catalog.exchange(served)
    served[0].run([digits(1)])
    assert cache.size_bytes > 0

    catalog.exchange([served[0].anew(UNLOADED)])
    served[0].run([digits(1)])  # a request that had found it before

    assert cache.size_bytes == 0


def test_a_board_whose_configuration_gives_it_memory_keeps_answers(board: TestBoard, start: object) -> None:
    board.configure(cache_mib=1)
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    agent = start(board).ready()  # type: ignore[operator]

    body = {"instances": digits(1).tolist()}
    found = [agent.post("/v1/models/digits:predict", body) for _ in range(3)]

    assert found[0][0] == 200
    assert found[0] == found[1] == found[2]
    assert 'nv_cache_num_hits_per_model{model="digits",version="1"} 2' in agent.get("/metrics")[1].decode()


def _text(served: Sequence[Served]) -> bytes:
    to = Exposition()
    expose_models(to, [each.sample() for each in served])
    return to.text()
