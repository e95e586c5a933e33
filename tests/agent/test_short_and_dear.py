"""Short requests that would cost the agent much memory: each is refused before it does."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.errors import RequestInvalid
from agent.contract.manifest import Task, TensorSpec
from agent.serving.catalog import Catalog
from agent.serving.messages import Request, Response, parse_json
from agent.serving.routes import Routes
from agent.transforms.golden import GoldenSet
from tests.agent.boards import TestBoard
from tests.agent.routing import routes_of

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

MIB = 1 << 20


def write_reducing(path: Path) -> None:
    """A model of samples of any length, that tells of each how much it is together."""
    end = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        "reducing",
        [end("x", onnx.TensorProto.FLOAT, ["n", "m"])],
        [end("y", onnx.TensorProto.FLOAT, ["n"])],
        [onnx.numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path
    )


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    folder = tmp_path_factory.mktemp("short")
    board = TestBoard(folder / "board")
    write_reducing(folder / "any.onnx")
    reducing = board.bundle(
        name="any",
        model_file=folder / "any.onnx",
        golden=GoldenSet(inputs=(np.zeros((1, 3), np.float32),)),
        inputs=[TensorSpec(name="x", dtype="float32", shape=(-1, -1))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=(-1,))],
        task=Task.TENSOR,
    )
    return routes_of(board, {"any": reducing, "digits": board.digits_onnx()})


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def asked(routes: Routes, model: str, *tensors: Any, **more: Any) -> Response:
    body = json.dumps({"inputs": tensors, **more}).encode()
    answer = routes(Request("POST", f"/v2/models/{model}/infer", {}, body, True, 0.0))
    assert isinstance(answer, Response)
    return answer


def test_one_long_string_does_not_make_all_others_long(routes: Routes, peak: Callable[[], int]) -> None:
    data = [["x" * 3000, *["a"] * 3000]]

    answer = asked(routes, "digits", {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": data})

    assert answer.status in (400, 500)
    assert peak() < 2 * MIB


def test_an_output_is_asked_for_once(routes: Routes) -> None:
    data = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}

    answer = asked(routes, "digits", data, outputs=[{"name": "probabilities"}] * 1000)

    assert answer.status == 400
    assert b"stands twice" in answer.body


@pytest.mark.parametrize("count", [1 << 28, 1 << 62])
def test_samples_of_no_length_are_none(routes: Routes, count: int) -> None:
    answer = asked(routes, "any", {"name": "x", "shape": [count, 0], "datatype": "FP32", "data": []})

    assert answer.status == 400
    assert b"unexpected shape" in answer.body


def test_a_raw_body_of_no_bytes_is_no_sample(routes: Routes) -> None:
    headers = {b"inference-header-content-length": b"0"}

    answer = routes(Request("POST", "/v2/models/any/infer", headers, b"", True, 0.0))

    assert isinstance(answer, Response)
    assert answer.status == 400


@pytest.mark.parametrize("value", [b"[],", b'{"a":1},', b'"ab",', b"0.5,"])
def test_what_json_comes_to_is_bounded(value: bytes) -> None:
    body = b"[" + value * (12 * MIB // len(value)) + b"0]"

    tracemalloc.start()
    with pytest.raises(RequestInvalid, match="too many values"):
        parse_json(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < MIB


def test_a_batch_of_photos_as_numbers_is_not_too_much() -> None:
    numbers = np.random.default_rng(0).random((3, 96, 96, 3)).tolist()

    assert parse_json(json.dumps({"instances": numbers}).encode()) == {"instances": numbers}


def test_what_waits_for_the_models_is_not_taken_apart(peak: Callable[[], int]) -> None:
    headers = {b"content-encoding": b"gzip"}
    body = gzip.compress(bytes(8 * MIB))

    tracemalloc.reset_peak()

    async def wait() -> None:
        catalog = Catalog()
        routes = Routes(catalog, version="0", body_bytes=8 * MIB, exposition=bytes, status=dict)
        asked = [
            routes(Request("POST", "/v2/models/digits/infer", headers, body, True, 0.0)) for _ in range(8)
        ]
        tasks = [asyncio.ensure_future(each) for each in asked if not isinstance(each, Response)]
        await asyncio.sleep(0.2)
        assert len(tasks) == 8
        assert peak() < 2 * MIB
        catalog.finish()
        assert [(await task).status for task in tasks] == [404] * 8

    asyncio.run(wait())
