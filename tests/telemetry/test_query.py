"""Answers are differences of what boards counted, whatever arrived when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.sketch import of
from edge.telemetry import query, search
from edge.telemetry.ingest import Received
from edge.telemetry.records import ModelWindow
from edge.telemetry.store import DAY_S, Store
from tests.telemetry.boards import (
    BOOT,
    OTHER_BOOT,
    PI,
    ROCK,
    START,
    UPTIME_S,
    event,
    model,
    open_store,
    sample,
    telemetry,
    usual_board,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.sqlite") as store:
        yield store


def reports(*counts: int, start: int = 1, release: str = "digits@1", **fields: object) -> list[Received]:
    """A sample a second, with what the model has counted by then."""
    return [
        telemetry([sample(seq, models=[model(count, release=release)])], **fields)
        for seq, count in enumerate(counts, start)
    ]


def one(windows: tuple[ModelWindow, ...]) -> ModelWindow:
    (window,) = windows
    return window


def test_a_window_is_the_difference_to_the_newest_sample_before_it(store: Store) -> None:
    store.ingest(reports(10, 30))
    before = query.position(store)
    store.ingest(reports(35, 60, 70, start=3))
    window = one(query.windows(store, device=PI, after=before))
    assert (window.requests, window.batches, window.seconds) == (40, 40, 3)
    assert window.latency_ms.counts == of([5.0] * 40).counts
    assert window.compute_s == pytest.approx(0.08)


def test_a_window_may_end_in_the_past(store: Store) -> None:
    marks = [0]
    for message in reports(10, 30, 35, 60):
        store.ingest([message])
        marks.append(query.position(store))
    found = [
        one(query.windows(store, device=PI, after=a, until=b)).requests
        for a, b in itertools.pairwise(marks[1:])
    ]
    assert found == [20, 5, 25]
    assert query.windows(store, device=PI, after=marks[-1]) == ()
    assert query.windows(store, device=ROCK, after=0) == ()


def test_a_boot_that_began_within_the_window_counts_from_its_start(store: Store) -> None:
    store.ingest(reports(10, 30))
    before = query.position(store)
    store.ingest(reports(35, start=3) + reports(4, 9, boot=OTHER_BOOT))
    window = one(query.windows(store, device=PI, after=before))
    assert window.requests == 5 + 9


def test_releases_are_counted_apart_and_a_new_one_from_zero(store: Store) -> None:
    store.ingest(reports(10, 30))
    before = query.position(store)
    both = [model(40), model(7, release="digits@2")]
    store.ingest([telemetry([sample(3, models=both)])])
    assert {w.release: w.requests for w in query.windows(store, device=PI, after=before)} == {
        "digits@1": 10,
        "digits@2": 7,
    }


def test_failures_are_told_by_code(store: Store) -> None:
    store.ingest([telemetry([sample(1, models=[model(10, failed=2)])])])
    before = query.position(store)
    store.ingest([telemetry([sample(2, models=[model(20, failed=5)])])])
    window = one(query.windows(store, device=PI, after=before))
    assert (window.errors, window.failed, window.requests) == ({"engine.failed": 3}, 3, 10)


def test_a_counter_that_shrinks_within_a_boot_began_anew(store: Store) -> None:
    store.ingest(reports(100))
    before = query.position(store)
    store.ingest(reports(7, start=2))
    assert one(query.windows(store, device=PI, after=before)).requests == 7


def test_a_store_that_lacks_the_boots_start_counts_from_its_first_sample(store: Store) -> None:
    store.ingest([telemetry([sample(501, second=1, models=[model(9000)])], acknowledged=500)])
    store.ingest([telemetry([sample(502, second=2, models=[model(9010)])], acknowledged=500)])
    assert one(query.windows(store, device=PI, after=0)).requests == 10


def test_what_was_deleted_is_not_counted_again(store: Store) -> None:
    store.ingest(reports(1000, rx=START))
    store.ingest(reports(1010, 1030, start=2, rx=START + 5 * DAY_S))
    assert store.prune(1, now=START + 5 * DAY_S) == 1
    assert one(query.windows(store, device=PI, after=0)).requests == 20


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=25), cut=st.integers(0, 25))
def test_windows_add_up_to_all_that_was_counted(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], cut: int
) -> None:
    totals = [sum(counts[: n + 1]) for n in range(len(counts))]
    with open_store(tmp_path_factory.mktemp("w") / "s.sqlite") as store:
        messages = reports(*totals)
        store.ingest(messages[:cut])
        middle = query.position(store)
        store.ingest(messages[cut:])
        parts = [
            *query.windows(store, device=PI, after=0, until=middle),
            *query.windows(store, device=PI, after=middle),
        ]
    assert sum(window.requests for window in parts) == totals[-1]
    assert sum(window.latency_ms.count for window in parts) == totals[-1]


@settings(max_examples=40)
@given(
    numbers=st.sets(st.integers(1, 400), min_size=1, max_size=60).map(sorted),
    bound=st.integers(-5, 420),
)
def test_halving_finds_what_looking_at_every_row_finds(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], bound: int
) -> None:
    with open_store(tmp_path_factory.mktemp("s") / "s.sqlite") as store:
        gaps = [(n, n) for n in range(1, numbers[-1]) if n not in numbers]
        store.ingest([telemetry(numbers, gaps=gaps)])
        found = search.newest_upto(store.connection, 1, "at", START + bound)
        by_id = search.newest_upto(store.connection, 1, "id", bound)
    assert (found.seq if found else None) == max((n for n in numbers if n <= bound), default=None)
    assert (by_id.id if by_id else None) == (min(bound, len(numbers)) if bound >= 1 else None)


def test_a_board_now_is_its_newest_seconds(store: Store) -> None:
    store.ingest(reports(*range(10, 400, 10)))
    (board,) = query.fleet_now(store, span_s=10, now=START + 40)
    assert (one(board.rates).requests, one(board.rates).seconds) == (100, 10)
    assert board.window is not None
    assert (board.window.cpu_percent, board.window.now.temperature_c) == (50.0, 51.5)
    assert board.last_seen == START + 39


def test_a_board_that_fell_silent_has_no_rates_but_its_last_values(store: Store) -> None:
    store.ingest(reports(10, 20, 30))
    (board,) = query.fleet_now(store, span_s=10, now=START + 60)
    assert board.rates == ()
    assert board.window is not None
    assert (board.window.cpu_percent, board.window.now.disk_free_bytes) == (None, 9_000_000_000)


def test_a_board_that_reports_seldom_is_not_silent_in_between(store: Store) -> None:
    store.ingest([telemetry([sample(n, second=60.0 * n, models=[model(60 * n)])]) for n in (1, 2, 3)])
    (board,) = query.fleet_now(store, span_s=10, now=START + 180 + 50)
    assert (one(board.rates).requests, one(board.rates).seconds) == (60, 60)


def test_a_restart_within_the_span_adds_up(store: Store) -> None:
    store.ingest(reports(10, 20, 30))
    again = [telemetry([sample(n, second=3.0 + n, models=[model(5 * n)])], boot=OTHER_BOOT) for n in (1, 2)]
    store.ingest(again)
    (board,) = query.fleet_now(store, span_s=4, now=START + 6)
    assert one(board.rates).requests == 20 + 10
    assert board.window is not None
    assert board.window.cpu_percent == pytest.approx(50.0)


def test_a_board_that_was_never_heard_of_is_known_as_such(store: Store) -> None:
    (board,) = query.fleet_now(store, devices=[PI])
    assert (board.last_seen, board.window, board.rates, board.link, board.boot) == (
        None,
        None,
        (),
        None,
        None,
    )


def test_one_sample_has_counts_and_no_rate(store: Store) -> None:
    store.ingest(reports(10))
    (board,) = query.fleet_now(store, now=START + 1)
    assert (one(board.rates).requests, one(board.rates).seconds) == (10, 0)
    assert board.window is not None
    assert board.window.cpu_percent is None


def test_rows_are_chosen_by_board_time_and_position(store: Store) -> None:
    store.ingest([telemetry([n], device=device) for n in range(1, 1301) for device in (PI, ROCK)])
    store.ingest([event(1301), event(1302)])
    seqs = lambda **choice: [found.seq for found in query.samples(store, **choice)]  # noqa: E731 - said eight times
    assert len(seqs()) == 2600
    assert seqs(device=ROCK) == list(range(1, 1301))
    assert seqs(device=PI, since=START + 1298) == [1298, 1299, 1300]
    assert seqs(device=PI, until=START + 3) == [1, 2]
    assert seqs(since=START + 1300) == [1300, 1300]
    assert seqs(limit=3) == [1299, 1300, 1300]
    assert seqs(device=PI, limit=2) == [1299, 1300]
    assert seqs(after=2598) == [1300, 1300]
    assert [e.seq for e in query.events(store, limit=1)] == [1302]
    assert [e.position for e in query.events(store, after=1)] == [2]


def test_a_row_is_what_the_board_sent(store: Store) -> None:
    sent = sample(1, models=[model(7, failed=1)], board=usual_board(throttled="0x4", temperature_c=None))
    store.ingest([telemetry([sent])])
    (found,) = query.samples(store)
    assert (found.device, found.boot, found.seq, found.board, found.models) == (
        PI,
        BOOT,
        1,
        sent.board,
        sent.models,
    )
    assert (found.at, found.wall, found.monotonic) == (START + 1, START + 1, UPTIME_S + 1)
