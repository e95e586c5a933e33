"""All of one board, as sections of a page: how it is, what it serves, its updates, events, samples and streams.

The rule: a pure function of what was read; the screen only puts it somewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.contract.messages import Reported
from edge.dashboard.columns import UNKNOWN, milliseconds, number, passed
from edge.dashboard.condition import Condition, conditions
from edge.dashboard.source import BoardReading
from edge.telemetry.records import BoardNow, StoredSample

MEGABYTE = 1_000_000
GAP = "  "


@dataclass(frozen=True)
class Section:
    """A part of the page: a table, with or without heads of its columns, or the sentence that says why it is empty.

    `right`: numbers of the columns that are aligned to the right.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    heads: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    empty: str = "nothing yet"

    def lines(self) -> list[str]:
        """The section's text, without its title."""
        if not self.rows:
            return [self.empty]
        table = [self.heads, *self.rows] if self.heads else list(self.rows)
        widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
        return [
            GAP.join(
                cell.rjust(width) if at in self.right else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]


def told(reading: BoardReading) -> tuple[Condition, ...]:
    """All that can be said of the board, the worst first."""
    return conditions(
        reading.board, flashed=reading.device.enrolled, interval_s=reading.interval_s, now=reading.at
    )


def sections(reading: BoardReading) -> tuple[Section, ...]:
    """The page of a board."""
    board = reading.board
    return (
        Section("Board", tuple(_facts(reading))),
        Section(
            "Models, in the last seconds",
            tuple(_models(board)) if board else (),
            ("release", "req/s", "p50 ms", "p95 ms", "run p95", "waiting", "errors"),
            right=(1, 2, 3, 4, 5),
        ),
        Section(
            "Updates, from its signed report",
            tuple(_updates(board.reported, reading.at)) if board and board.reported else (),
            empty="no report yet",
        ),
        Section(
            "Events",
            tuple((_clock(event.at), event.kind, event.code, event.message) for event in reversed(reading.events)),
        ),
        Section(
            "Samples",
            tuple(_samples(reading.samples)),
            ("measured", "req/s", "failed", "cpu %", "mem MB", "°C", "came after"),
            right=(1, 2, 3, 4, 5, 6),
        ),
        Section(
            "Streams: one a start of the agent",
            tuple(
                (one.boot[:8], f"{one.high_water}", f"{one.samples}", f"{one.events}", f"{one.gaps}", f"{one.breaks}")
                for one in reversed(reading.streams)
            ),
            ("boot", "up to", "samples", "events", "dropped", "elsewhere"),
            right=(1, 2, 3, 4, 5),
        ),
    )  # fmt: skip


def _facts(reading: BoardReading) -> Iterator[tuple[str, str]]:
    device, board = reading.device, reading.board
    yield "address", f"{device.address}, id {device.device_id}"
    profile = (board.profile if board else None) or device.profile or "none chosen yet"
    yield "profile", f"{profile}, simulated" if device.simulated else profile
    if board is None:
        return
    yield "agent", board.agent_version or UNKNOWN
    yield "seen", _ago(reading.row.seen_s)
    if board.link is not None:
        reason = f": {board.link.reason}" if board.link.reason else ""
        behind = ", it still sends what waited" if board.link.backlog else ""
        yield "link", f"{board.link.tunnel}{reason}{behind}"
    if board.window is not None:
        now = board.window.now
        yield "up", passed(now.uptime_s)
        yield (
            "memory",
            f"{now.memory_used_bytes / MEGABYTE:.0f} of {now.memory_total_bytes / MEGABYTE:.0f} MB,"
            f" the agent {now.agent_memory_bytes / MEGABYTE:.0f} MB",
        )
        yield "disk", f"{now.disk_free_bytes / 1000 / MEGABYTE:.1f} GB free"
        if board.window.cpu_percent is not None:
            own = number(board.window.agent_cpu_percent, 1)
            yield "cpu", f"{board.window.cpu_percent:.0f} % of one core, the agent {own} %"
        if now.throttled:
            yield "throttled", now.throttled


def _models(board: BoardNow) -> Iterator[tuple[str, ...]]:
    for window in board.rates:
        errors = ", ".join(f"{count} {code}" for code, count in sorted(window.errors.items()))
        yield (
            window.release,
            number(window.requests / window.seconds if window.seconds > 0 else None, 1),
            milliseconds(window.latency_ms.quantile(0.5)),
            milliseconds(window.latency_ms.quantile(0.95)),
            milliseconds(window.compute_ms.quantile(0.95)),
            str(window.queue),
            errors or "none",
        )
    measured = {window.release for window in board.rates}
    for model in board.models:
        if model.release not in measured:
            yield (f"{model.release} ({model.state})", *([UNKNOWN] * 6))


def _samples(samples: Sequence[StoredSample]) -> Iterator[tuple[str, ...]]:
    """Each sample against the one before it of the same boot, the newest first."""
    for before, after in reversed(list(pairwise(samples))):
        seconds = after.monotonic - before.monotonic
        same = before.boot == after.boot and seconds > 0
        requests = sum(m.requests for m in after.models) - sum(m.requests for m in before.models)
        failed = _failed(after) - _failed(before)
        cpu_s = after.board.cpu_s - before.board.cpu_s
        yield (
            _clock(after.at),
            number(requests / seconds, 1) if same else UNKNOWN,
            str(failed) if same else UNKNOWN,
            number(100 * cpu_s / seconds, 0) if same else UNKNOWN,
            f"{after.board.memory_used_bytes / MEGABYTE:.0f}",
            number(after.board.temperature_c, 0),
            f"{max(0.0, after.rx - after.at):.1f} s",
        )


def _failed(sample: StoredSample) -> int:
    return sum(sum(model.errors.values()) for model in sample.models)


def _updates(reported: Reported, now: float) -> Iterator[tuple[str, ...]]:
    if reported.in_progress:
        yield ("now", f"#{reported.counter}", reported.state.value, "", reported.message or "")
    for entry in reported.history:
        said = f"{entry.message} [{entry.code}]" if entry.code else entry.message or ""
        yield (
            _ago(max(0.0, now - entry.at)),
            f"#{entry.counter}",
            entry.state.value,
            entry.title,
            said,
        )


def _ago(seconds: float | None) -> str:
    told = passed(seconds)
    return told if told in ("now", "never") else f"{told} ago"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
