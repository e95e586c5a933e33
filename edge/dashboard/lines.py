"""The fleet as lines, where there is no terminal: for people who read a log, and as JSON for scripts.

The rule: one line for each board and look, each complete in itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from edge.dashboard.columns import Placed, placed
from edge.dashboard.row import Row, by_severity
from edge.dashboard.source import Reading

ANY_WIDTH = 10_000


class Lines:
    """Makes lines of readings; the heads of the columns come again when their widths change."""

    def __init__(self) -> None:
        self._layout: tuple[tuple[int, int], ...] = ()

    def of(self, reading: Reading) -> list[str]:
        """The lines of one look, the worst boards first."""
        rows = by_severity(reading.rows)
        columns = placed(rows, ANY_WIDTH)
        layout = tuple((column.start, column.width) for column in columns)
        lines = []
        if rows and layout != self._layout:
            self._layout = layout
            lines.append(_line("time", [column.head() for column in columns]))
        at = time.strftime("%H:%M:%S", time.localtime(reading.at))
        return lines + [_line(at, _cells(columns, row)) for row in rows]


def plain(row: Row, *, at: float) -> dict[str, Any]:
    """A row as JSON: what is not known is null. `at`: seconds since 1970."""
    return {
        "at": round(at, 3),
        "board": row.name,
        "device": row.device,
        "state": row.condition.word,
        "level": row.condition.level.name.lower(),
        "reason": row.condition.reason,
        "releases": list(row.releases),
        "requests_per_s": _rounded(row.requests_per_s),
        "error_part": _rounded(row.error_part),
        "p50_ms": _rounded(row.p50_ms),
        "p95_ms": _rounded(row.p95_ms),
        "run_p95_ms": _rounded(row.run_p95_ms),
        "cpu_percent": _rounded(row.cpu_percent),
        "memory_percent": _rounded(row.memory_percent),
        "temperature_c": _rounded(row.temperature_c),
        "seen_s": _rounded(row.seen_s),
        "link": row.link,
    }


def _line(at: str, cells: Sequence[str]) -> str:
    return "  ".join([at.ljust(8), *cells]).rstrip()


def _cells(columns: Sequence[Placed], row: Row) -> list[str]:
    return [column.cell(row) for column in columns]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
