"""The load generator against a real server that stalls, refuses or goes away."""

from __future__ import annotations

import pytest

from agent.bench import Window, bench_server
from agent.bench.server import Server
from agent.contract.errors import (
    AgentSilent,
    ModelNotServed,
    ModelVersionNotServed,
    OptionInvalid,
    RequestInvalid,
)
from agent.contract.load import LoadReport
from tests.fakes.stalling_server import StallingServer

STALL_S = 0.5
WARM_UP_S = 0.1
RATE = 100.0


def loaded(
    server: StallingServer, *, rate: float | None, seconds: float = 1.2, connections: int = 2
) -> LoadReport:
    window = Window(
        way="json",
        seconds=seconds,
        warm_up_s=WARM_UP_S,
        connections=connections,
        rate_per_s=rate,
        arrivals="constant",
    )
    return bench_server(Server.at(f"http://127.0.0.1:{server.port}"), "m", None, window)


def p99_ms(report: LoadReport) -> float:
    found = report.latencies.quantile_ms(0.99)
    assert found is not None
    return found


def test_a_stall_shows_in_the_p99_of_an_open_loop_and_not_in_that_of_a_closed_one() -> None:
    with StallingServer().running() as server:
        server.stall(STALL_S, after_s=0.2)
        closed = loaded(server, rate=None, seconds=2.5)
        server.stall(STALL_S, after_s=0.2)
        opened = loaded(server, rate=RATE)

    largest_ms = closed.latencies.quantile_ms(1.0)
    assert largest_ms is not None
    assert largest_ms > 0.9 * STALL_S * 1000, "the closed loop was there, too"
    assert p99_ms(closed) < 0.5 * STALL_S * 1000
    assert p99_ms(opened) > 0.8 * STALL_S * 1000
    slow = sum(n for at, n in opened.latencies.counts.items() if int(at) > 0.2 * STALL_S * 1e9)
    assert slow > 0.6 * RATE * STALL_S, "all that were due while the server stood still had to wait"
    assert opened.sent == opened.latencies.count == round(1.2 * RATE)
    assert opened.waited > 0, "two connections were not enough for them"


def test_refused_requests_are_counted_by_their_status_and_have_no_latency() -> None:
    with StallingServer(failing=4).running() as server:
        report = loaded(server, rate=RATE, seconds=0.4)

    assert report.sent == 40
    assert report.errors == {"503": 10}
    assert report.requests == report.latencies.count == 30


def test_what_is_never_answered_counts_with_the_time_that_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.bench.load.DRAIN_S", 0.2)
    with StallingServer().running() as server:
        server.stall(1.2, after_s=0.1)
        report = loaded(server, rate=RATE, seconds=0.4)

    assert report.errors == {"no answer": report.sent - report.requests}
    assert report.latencies.count == report.sent == 40
    assert p99_ms(report) > 300


@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [("other", None, ModelNotServed), ("m", "8", ModelVersionNotServed)],
)
def test_a_model_that_is_not_served_is_said(model: str, version: str | None, kind: type[Exception]) -> None:
    window = Window(way="json", seconds=0.1, warm_up_s=0.1, connections=1)
    with StallingServer().running() as server, pytest.raises(kind):
        bench_server(Server.at(f"http://127.0.0.1:{server.port}"), model, version, window)


def test_a_token_is_never_sent_for_all_to_read() -> None:
    with pytest.raises(OptionInvalid, match="https:// alone"):
        Server.at("http://127.0.0.1:1", "secret")


def test_nobody_there_is_said() -> None:
    window = Window(way="json", seconds=0.1, warm_up_s=0.1, connections=1)
    with StallingServer().running() as server:
        address = f"http://127.0.0.1:{server.port}"
    with pytest.raises(AgentSilent):
        bench_server(Server.at(address), "m", None, window)


def test_elements_without_random_values_are_said() -> None:
    from agent.bench.payload import random_request

    with pytest.raises(RequestInvalid):
        random_request([{"name": "x", "datatype": "BYTES", "shape": [1]}])
