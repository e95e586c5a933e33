"""A request that asks for more samples than a model may be kept from others for: refused with the number, whatever
brought it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent.link.asking import Question
from agent.models import Model, open_bundle
from agent.serving.asking import Asking
from agent.serving.http import LARGEST_BODY
from agent.serving.messages import Request, Response
from agent.serving.pace import Curve
from agent.serving.queue import Bounds
from agent.serving.routes import Routes
from agent.serving.samples import MOST_SAMPLES, most_samples
from tests.agent.boards import TestBoard, digits
from tests.agent.routing import answered, routes_of

SLOW = Curve(0.0, 0.1)
"""A hundred samples in the ten seconds that one request may take."""
WIDE = Bounds(requests=64, size_bytes=1 << 40)
MANY = np.zeros((101, 64), np.float32)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> TestBoard:
    return TestBoard(tmp_path_factory.mktemp("many") / "board")


@pytest.fixture(scope="module")
def slow(board: TestBoard) -> Routes:
    """`digits` takes any batch, `small` one sample at a time."""
    return routes_of(board, {"digits": board.digits_onnx(), "small": board.digits_int8()}, SLOW)


def binary(name: str) -> tuple[bytes, dict[bytes, bytes]]:
    tensor = {"name": name, "shape": MANY.shape, "datatype": "FP32"}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": MANY.nbytes}}]}).encode()
    return head + MANY.tobytes(), {b"inference-header-content-length": b"%d" % len(head)}


def rows() -> bytes:
    return json.dumps({"instances": MANY.tolist()}).encode()


def columns(name: str) -> bytes:
    tensor = {"name": name, "shape": MANY.shape, "datatype": "FP32", "data": MANY.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


REQUESTS: dict[str, tuple[str, Callable[[str], tuple[bytes, dict[bytes, bytes]]]]] = {
    "version 1": ("/v1/models/{}:predict", lambda _: (rows(), {})),
    "version 1, compressed": (
        "/v1/models/{}:predict",
        lambda _: (gzip.compress(rows()), {b"content-encoding": b"gzip"}),
    ),
    "version 2, JSON": ("/v2/models/{}/infer", lambda name: (columns(name), {})),
    "version 2, binary": ("/v2/models/{}/infer", binary),
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(("model", "tensor"), [("digits", "x"), ("small", "serving_default_keras_tensor:0")])
def test_more_samples_than_one_request_may_take_are_refused_with_the_number(
    slow: Routes, board: TestBoard, kind: str, model: str, tensor: str
) -> None:
    path, made = REQUESTS[kind]
    body, headers = made(tensor)

    answer = asyncio.run(answered_by(slow, Request("POST", path.format(model), headers, body, True, 0.0)))

    assert answer.status == 413
    assert json.loads(answer.body)["error"] == (
        f"the request holds 101 samples for model '{model}': at most 100 are taken at once"
    )


async def answered_by(routes: Routes, request: Request) -> Response:
    return await answered(routes(request))


def test_as_many_as_one_may_take_are_answered(slow: Routes) -> None:
    body = json.dumps({"instances": np.resize(digits(4), (100, 64)).tolist()}).encode()

    answer = asyncio.run(answered_by(slow, Request("POST", "/v1/models/digits:predict", {}, body, True, 0.0)))

    assert len(json.loads(answer.body)["predictions"]) == 100


def test_what_comes_over_mqtt_is_refused_in_the_same_way(slow: Routes) -> None:
    answers: list[Response] = []

    async def ask() -> None:
        asking = Asking(asyncio.get_running_loop(), slow, LARGEST_BODY)
        body, headers = binary("x")
        asking(Question("/v2/models/digits/infer", body, headers), answers.append)
        asking(Question("/v1/models/digits:predict", rows()), answers.append)
        while len(answers) < 2:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(ask(), 20))
    assert [answer.status for answer in answers] == [413, 413]


def test_the_configuration_says_how_many(slow: Routes) -> None:
    answer = slow(Request("GET", "/v2/models/digits/config", {}, b"", True, 0.0))

    assert isinstance(answer, Response)
    assert json.loads(answer.body)["max_batch_size"] == 100


def test_the_bound_is_of_time_of_memory_and_of_what_nobody_measured(tmp_path: Path) -> None:
    board = TestBoard(tmp_path / "board")
    digest = board.digits_onnx()
    model = Model(open_bundle(board.root / "objects" / digest, expected=digest))

    assert most_samples(model, Curve(5.0, 0.01), WIDE) == 500
    assert most_samples(model, Curve(0.0, 60.0), WIDE) == 1  # one is always taken
    assert most_samples(model, Curve(1e-6, 0.0, 32), WIDE) == MOST_SAMPLES
    sample_bytes = (64 + 10) * 4
    assert most_samples(model, Curve(1e-6, 1e-9), Bounds(64, 50 * sample_bytes)) == 50
    model.close()


def test_a_flat_curve_lets_no_more_onto_the_event_loop_than_were_timed() -> None:
    assert Curve(1e-5, 0.0, 32).fitting(1.0) == 32
