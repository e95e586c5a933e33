"""Several versions of one name: a challenger that answers its share, and a shadow that only watches."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from agent.contract.release import GenerationModel, ModelRole
from agent.transforms.golden import GoldenSet
from tests.agent.boards import TestBoard, digits
from tests.agent.conftest import RunningAgent
from tests.agent.swapping import ROW

PATH = "/v2/models/digits/infer"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent with `digits@1`, and beside it `digits@2` as a challenger and an int8 `digits@3` as a shadow."""
    folder = tmp_path_factory.mktemp("roles")
    board = TestBoard(folder / "board")
    board.generation_of(
        1,
        GenerationModel("digits", "digits@1", board.digits_onnx()),
        GenerationModel(
            "digits",
            "digits@2",
            board.digits_onnx(GoldenSet(inputs=(digits(10),))),
            role=ModelRole.CHALLENGER,
            share=25,
        ),
        GenerationModel(
            "digits",
            "digits@3",
            board.digits_onnx(GoldenSet(inputs=(digits(20),))),
            role=ModelRole.SHADOW,
            share=0,
        ),
    )
    board.link("current", 1)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        yield agent.ready()
    finally:
        agent.stop()


def ask(agent: RunningAgent, count: int, path: str = PATH, **fields: Any) -> Counter[str]:
    """Ask the same again on one connection; how often each version answered."""
    versions: Counter[str] = Counter()
    connection = agent.connect()
    for number in range(count):
        body = {
            **{name: value.format(number) for name, value in fields.items()},
            "inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": ROW}],
        }
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        versions[json.loads(answer.read())["model_version"]] += 1
    connection.close()
    return versions


def model(agent: RunningAgent, release: str) -> dict[str, Any]:
    models = agent.get("/edge/v1/status")[1]["models"]
    found: dict[str, Any] = next(each for each in models if each["release"] == release)
    return found


def test_of_each_hundred_requests_a_challenger_answers_its_share(three: RunningAgent) -> None:
    assert ask(three, 200) == {"1": 150, "2": 50}


def test_the_same_request_id_always_leads_to_the_same_version(three: RunningAgent) -> None:
    assert len(ask(three, 20, id="camera-7")) == 1
    both = ask(three, 200, id="request-{}")
    assert 20 <= both["2"] <= 80
    assert ask(three, 200, id="request-{}") == both


def test_each_version_is_reachable_by_its_number(three: RunningAgent) -> None:
    for version in ("1", "2", "3"):
        path = f"/v2/models/digits/versions/{version}/infer"
        assert ask(three, 4, path) == {version: 4}
    assert three.post("/v2/models/digits/versions/9/infer", {})[0] == 404


def test_a_label_leads_to_the_version_of_its_role(three: RunningAgent) -> None:
    before = {release: model(three, release)["counters"]["requests"] for release in ("digits@2", "digits@3")}
    for label in ("canary", "shadow"):
        status, _ = three.post(f"/v1/models/digits/labels/{label}:predict", {"instances": [ROW]})
        assert status == 200
    status, said = three.post("/v1/models/digits/labels/other:predict", {"instances": [ROW]})

    assert (status, said) == (400, {"error": "Unrecognized servable version label: other"})
    for release, requests in before.items():
        assert model(three, release)["counters"]["requests"] == requests + 1


def test_a_shadow_is_asked_what_the_primary_was_and_their_agreement_is_counted(three: RunningAgent) -> None:
    before = model(three, "digits@3")["counters"]
    ask(three, 20, "/v2/models/digits/versions/1/infer")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        counters = model(three, "digits@3")["counters"]
        copied = counters.get("compared", 0) - before.get("compared", 0)
        dropped = counters.get("dropped", 0) - before.get("dropped", 0)
        if copied + dropped == 20:
            break
        time.sleep(0.01)

    assert copied >= 1
    assert copied + dropped == 20
    assert counters["agreed"] == pytest.approx(counters["compared"])
    assert counters["requests"] == before["requests"]
    metrics = three.get("/metrics")[1].decode()
    assert 'edge_model_shadow_compared_total{model="digits",version="3"}' in metrics
