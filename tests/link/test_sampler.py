"""What the board writes as bytes is what the contract reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.contract.codec import decode, from_plain
from agent.contract.messages import EventKind, EventMessage, Telemetry
from agent.contract.samples import BoardCounters, Gap, ModelCounters
from agent.contract.sketch import of
from agent.link.outbox import Pending
from agent.link.sampler import event, message, sample
from agent.metrics import ModelMetrics
from agent.system import BoardReader


def pending(*bodies: bytes, is_event: bool = False, same_os_boot: bool = True) -> Pending:
    return Pending(
        boot="00112233aabbccdd",
        place=7,
        items=tuple(enumerate(bodies, start=6)),
        event=is_event,
        gaps=(Gap(2, 5),),
        acknowledged=1,
        same_os_boot=same_os_boot,
        more=False,
    )


def metrics() -> ModelMetrics:
    found = ModelMetrics()
    for milliseconds in (0.5, 0.5, 3.0, 70.0):
        found.ran(2, 0.0, milliseconds / 1000)
        found.answered(milliseconds / 1000)
    found.failed("model.overloaded")
    return found


def test_a_batch_reads_as_what_was_measured(tmp_path: Path) -> None:
    plain = metrics().plain("digits", "digits@3", 4)
    board = BoardReader(tmp_path)

    batch = message(pending(sample(board, [plain]), sample(board, [])), device="d-1", clock_synchronised=True)
    read = decode(Telemetry, batch)

    assert (read.device, read.boot, read.acknowledged) == ("d-1", "00112233aabbccdd", 1)
    assert (read.gaps, read.clock_synchronised, read.extra) == ((Gap(2, 5),), True, {})
    first, second = read.samples
    assert (first.seq, second.seq, second.models) == (6, 7, ())
    assert first.monotonic <= second.monotonic <= (read.sent_monotonic or 0.0)
    counters = first.models[0]
    assert (counters.name, counters.release, counters.queue) == ("digits", "digits@3", 4)
    assert (counters.requests, counters.batches, counters.errors) == (5, 4, {"model.overloaded": 1})
    sketch = of([0.5, 0.5, 3.0, 70.0])
    assert counters.latency_ms.counts == counters.compute_ms.counts == sketch.counts
    assert counters.latency_ms.total == pytest.approx(sketch.total)
    assert counters.extra == first.extra == first.board.extra == {}


def test_the_boards_counters_are_one_and_the_same_for_metrics_and_for_telemetry(tmp_path: Path) -> None:
    reader = BoardReader(tmp_path)
    told = from_plain(BoardCounters, reader.plain())
    asked = reader.counters()

    assert told.memory_total_bytes == asked.memory_total_bytes > 0
    assert told.cpu_s > 0
    assert 0 < told.memory_used_bytes < told.memory_total_bytes
    assert told.agent_memory_bytes > 1_000_000
    assert told.network_received_bytes is not None
    assert told.extra == {}


def test_the_models_counters_are_those_of_the_contract() -> None:
    assert from_plain(ModelCounters, metrics().plain("digits", "digits@3", 0)).extra == {}


def test_an_event_reads_as_what_was_told() -> None:
    told = event(EventKind.UPDATE, "trial.too-slow", "it is slow", {"counter": 3, "code": None})

    read = decode(EventMessage, message(pending(told, is_event=True), device="d-1", clock_synchronised=False))

    assert (read.seq, read.kind, read.code, read.message) == (
        6, EventKind.UPDATE, "trial.too-slow", "it is slow",
    )  # fmt: skip
    assert (read.facts["counter"], read.gaps, read.extra) == (3, (Gap(2, 5),), {})


def test_seconds_of_another_start_of_the_board_are_not_set_against_those_of_now(tmp_path: Path) -> None:
    body = sample(BoardReader(tmp_path), [])
    batch = message(pending(body, same_os_boot=False), device="d-1", clock_synchronised=False)
    assert decode(Telemetry, batch).sent_monotonic is None


def test_gaps_alone_make_a_message() -> None:
    read = decode(Telemetry, message(pending(), device="d-1", clock_synchronised=False))
    assert (read.samples, read.gaps) == ((), (Gap(2, 5),))
