from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge.dashboard.condition import Level
from edge.dashboard.lines import Lines, plain
from edge.dashboard.page import sections
from edge.dashboard.source import Source
from tests.dashboard.fleet import Fleet, device_id
from tests.telemetry.boards import event


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "f", ["sim-1", "sim-2"])


def test_a_row_holds_what_the_last_seconds_were(fleet: Fleet) -> None:
    with fleet.writer() as store:
        fleet.report(store, "sim-1", per_s=20, failed=1, latency_ms=4.0)
    with Source(fleet.folder) as source:
        first, second = source.read().rows
    assert (first.name, first.releases, first.link) == ("sim-1", ("digits@1",), "up")
    assert first.requests_per_s == pytest.approx(20, rel=0.01)
    assert first.error_part == pytest.approx(0.05)
    assert first.p50_ms == pytest.approx(4.0, rel=0.03)
    assert first.run_p95_ms == pytest.approx(2.0, rel=0.03)
    assert first.cpu_percent == pytest.approx(50, rel=0.01)
    assert first.memory_percent == pytest.approx(12.5)
    assert first.temperature_c == 51.5
    assert first.seen_s is not None
    assert first.seen_s < 2
    assert (second.condition.word, second.requests_per_s, second.seen_s) == ("waiting", None, None)


def test_two_releases_one_after_the_other_are_one_models_requests(fleet: Fleet) -> None:
    with fleet.writer() as store:
        fleet.report(store, "sim-1", release="digits@1", ago_s=4, seconds=8)
        fleet.report(store, "sim-1", release="digits@2", seconds=4, boot="f" * 16)
    with Source(fleet.folder) as source:
        row = source.read().rows[0]
    assert row.releases == ("digits@2",)
    assert row.requests_per_s == pytest.approx(20, rel=0.15)


def test_a_line_is_complete_in_itself_and_the_heads_come_once(fleet: Fleet) -> None:
    with fleet.writer() as store:
        fleet.report(store, "sim-2")
    lines = Lines()
    with Source(fleet.folder) as source:
        head, *first = lines.of(source.read())
        again = lines.of(source.read())
    assert head.split()[:4] == ["time", "board", "state", "release"]
    assert [line.split()[1:4] for line in first] == [
        ["sim-1", "·", "waiting"],
        ["sim-2", "✓", "ok"],
    ]
    assert "digits@1" in first[1]
    assert len(again) == 2


def test_a_row_as_json_says_null_for_what_is_not_known(fleet: Fleet) -> None:
    with Source(fleet.folder) as source:
        found = plain(source.read().rows[0], at=12.34567)
    assert (found["board"], found["state"], found["level"]) == ("sim-1", "waiting", "note")
    assert (found["at"], found["p95_ms"], found["releases"]) == (12.346, None, [])


def test_a_page_has_all_of_a_board(fleet: Fleet) -> None:
    with fleet.writer() as store:
        fleet.report(store, "sim-1", failed=2)
        device = device_id("sim-1")
        happened = event(13, device=device, rx=time.time(), code="trial.too-slow", message="p95 9.1 ms")
        store.ingest([happened])
    with Source(fleet.folder) as source:
        reading = source.read_board("sim-1")
        assert source.read_board("sim-9") is None
    assert reading is not None
    assert reading.row.condition.level is Level.BAD
    page = {section.title: section.lines() for section in sections(reading)}
    text = "\n".join("\n".join(lines) for lines in page.values())
    for word in (
        "pi@192.0.2.7",
        "raspberry-pi-5",
        "20.0",
        " engine.failed",
        "trial.too-slow",
        "p95 9.1 ms",
    ):
        assert word in text
    assert page["Updates, from its signed report"] == ["no report yet"]
    heads, newest, *older = page["Samples"]
    assert heads.split()[:3] == ["measured", "req/s", "failed"]
    assert newest.split()[1:4] == ["20.0", "2", "50"]
    assert len(older) == 7
    (_, stream) = page["Streams: one a start of the agent"]
    assert stream.split() == ["01234567", "13", "12", "1", "0", "0"]


def test_a_page_of_a_board_that_was_never_heard_of_has_its_address(fleet: Fleet) -> None:
    with Source(fleet.folder) as source:
        reading = source.read_board("sim-2")
    assert reading is not None
    assert "there is no telemetry yet" in (reading.trouble or "")
    assert "pi@192.0.2.7" in sections(reading)[0].lines()[0]
