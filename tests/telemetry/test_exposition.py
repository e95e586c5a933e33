from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.contract.messages import Presence
from agent.metrics import Exposition, ModelMetrics, ModelSample, expose_board, expose_models
from edge.telemetry.exposition import STALE_S, exposition
from edge.telemetry.store import Store
from tests.telemetry.boards import (
    PI,
    ROCK,
    START,
    birth,
    model,
    open_store,
    sample,
    state,
    telemetry,
    usual_board,
)

NAMES = {PI: "pi", ROCK: "rock"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    whole = usual_board(throttled="0x50005", network_sent_bytes=1, network_received_bytes=2)
    with open_store(tmp_path / "store.sqlite") as store:
        store.ingest(
            [
                birth(),
                telemetry(
                    [sample(1, models=[model(10)]), sample(2, models=[model(30, failed=2)], board=whole)]
                ),
                birth(device=ROCK),
                telemetry([sample(1)], device=ROCK),
                state(Presence.LOST, device=ROCK),
            ]
        )
    return Store.open(tmp_path / "store.sqlite")


def values(text: str) -> dict[tuple[str, str], float]:
    """By name and labels."""
    return {
        (sample.name, ",".join(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_fleet_is_shown_by_name_model_and_release(store: Store) -> None:
    found = values(exposition(store, names=NAMES, now=START + 3))
    assert found["edge_model_requests_total", "pi,digits,digits@1"] == 30
    assert found["edge_model_errors_total", "engine.failed,pi,digits,digits@1"] == 2
    assert found["edge_model_latency_ms", "pi,digits,0.95,digits@1"] == pytest.approx(5.0, rel=0.02)
    assert found["edge_board_temperature_celsius", "rock"] == 51.5
    assert found["edge_board_throttled_flags", "pi"] == 0x50005
    assert (found["edge_board_online", "pi"], found["edge_board_online", "rock"]) == (1, 0)


def test_what_the_agent_shows_too_has_the_agents_name(store: Store) -> None:
    agent = Exposition()
    expose_board(agent, usual_board(throttled="0x0", network_sent_bytes=1, network_received_bytes=1), [])
    metrics = ModelMetrics()
    metrics.answered(0.005)
    metrics.failed("engine.failed")
    metrics.ran(1, 0.0, 0.002)
    expose_models(agent, [ModelSample("digits", 1, metrics, 0)])
    of_agent = set(re.findall(r"^(\w+)[{ ]", agent.text().decode(), re.MULTILINE))
    of_fleet = {name for name, _ in values(exposition(store, names=NAMES, now=START + 3))}
    only_here = {
        name for name in of_fleet - of_agent if not name.startswith(("edge_telemetry", "edge_board_"))
    }
    assert only_here == {"edge_model_batches_total", "edge_model_compute_seconds_total"}
    only_there = {name for name in of_agent - of_fleet if not name.startswith("nv_inference")}
    assert only_there == {
        "edge_model_batch_samples",
        "edge_model_runs_total",
    }  # what the board alone can tell


def test_a_board_that_is_silent_shows_only_that_it_is(store: Store) -> None:
    found = values(exposition(store, names=NAMES, now=START + 3 + STALE_S))
    assert found["edge_board_last_seen_seconds", "pi"] == START + 2
    assert ("edge_board_temperature_celsius", "pi") not in found


def test_a_board_that_left_the_fleet_is_not_shown(store: Store) -> None:
    assert "rock" not in exposition(store, names={PI: "pi"}, now=START + 3)


def test_names_that_need_escaping_and_flags_that_are_none_do_not_break_it(tmp_path: Path) -> None:
    odd = sample(1, models=[model(1, release='a"b\\c\n@1')], board=usual_board(throttled="yes"))
    with open_store(tmp_path / "odd.sqlite") as store:
        store.ingest([telemetry([odd])])
        found = values(exposition(store, names={PI: "pi"}, now=START + 3))
    assert found["edge_model_requests_total", 'pi,a"b\\c\n,a"b\\c\n@1'] == 1
    assert ("edge_board_throttled_flags", "pi") not in found
