"""The columns of a table of boards: their titles, widths and order, and which of them a terminal has room for.

The rule: a column is shown whole or not at all; the least important goes first, and who is bad never does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.dashboard.row import Row

UNKNOWN = "–"
LONGEST_NAME = 24
SHORT_NAME = 12
"""What a flexible column is narrowed to before others have to go."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        key: for `--json`-free people and for sorting. title: its head.
        width: in letters; `flexible` columns take what their longest cell needs, up to `LONGEST_NAME`.
        rank: 0 stays longest.
        text: of a row. order: what rows are sorted by; None sorts last, whichever way. descending: first by default.
        right: aligned to the right.
    """

    key: str
    title: str
    width: int
    rank: int
    text: Callable[[Row], str]
    order: Callable[[Row], Any]
    right: bool = True
    flexible: bool = False
    descending: bool = True


def number(value: float | None, digits: int, unit: str = "") -> str:
    """With so many digits behind the point."""
    return UNKNOWN if value is None else f"{value:.{digits}f}{unit}"


def milliseconds(value: float | None) -> str:
    """Three digits that count: `0.04`, `3.71`, `41.2`, `1234`."""
    if value is None:
        return UNKNOWN
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def percent(part: float | None) -> str:
    """A part, 0 to 1, in percent: `0%` is none at all; what is less than a tenth is said so."""
    if part is None:
        return UNKNOWN
    if 0 < part < 0.001:
        return "<0.1%"
    return f"{100 * part:.0f}%" if part in (0, 1) else f"{100 * part:.1f}%"


def passed(seconds: float | None) -> str:
    """`3 s`, `4 min`, `5 h`, `6 d`; `now` below a second and a half."""
    if seconds is None:
        return "never"
    if seconds < 1.5:
        return "now"
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{seconds:.0f} s"


COLUMNS = (
    Column(
        key="board", title="board", width=6, rank=0, right=False, flexible=True, descending=False,
        text=lambda row: row.name, order=lambda row: row.name,
    ),
    Column(
        key="state", title="state", width=14, rank=0, right=False, descending=False,
        text=lambda row: f"{row.condition.level.sign} {row.condition.word}",
        order=lambda row: (row.condition.level, row.condition.word),
    ),
    Column(
        key="release", title="release", width=8, rank=1, right=False, flexible=True, descending=False,
        text=lambda row: ",".join(row.releases) or UNKNOWN, order=lambda row: row.releases or None,
    ),
    Column(
        key="rate", title="req/s", width=6, rank=2,
        text=lambda row: number(row.requests_per_s, 1), order=lambda row: row.requests_per_s,
    ),
    Column(
        key="p50", title="p50 ms", width=6, rank=6,
        text=lambda row: milliseconds(row.p50_ms), order=lambda row: row.p50_ms,
    ),
    Column(
        key="p95", title="p95 ms", width=6, rank=3,
        text=lambda row: milliseconds(row.p95_ms), order=lambda row: row.p95_ms,
    ),
    Column(
        key="run", title="run p95", width=8, rank=11,
        text=lambda row: milliseconds(row.run_p95_ms), order=lambda row: row.run_p95_ms,
    ),
    Column(
        key="errors", title="err", width=5, rank=4,
        text=lambda row: percent(row.error_part), order=lambda row: row.error_part,
    ),
    Column(
        key="cpu", title="cpu", width=4, rank=7,
        text=lambda row: number(row.cpu_percent, 0, "%"), order=lambda row: row.cpu_percent,
    ),
    Column(
        key="memory", title="mem", width=4, rank=8,
        text=lambda row: number(row.memory_percent, 0, "%"), order=lambda row: row.memory_percent,
    ),
    Column(
        key="temperature", title="°C", width=3, rank=9,
        text=lambda row: number(row.temperature_c, 0), order=lambda row: row.temperature_c,
    ),
    Column(
        key="seen", title="seen", width=6, rank=5, descending=True,
        text=lambda row: passed(row.seen_s), order=lambda row: row.seen_s,
    ),
    Column(
        key="link", title="link", width=7, rank=10, right=False, descending=False,
        text=lambda row: row.link or UNKNOWN, order=lambda row: row.link,
    ),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Placed:
    """A column with the room that it has: it begins at letter `start` and is `width` wide."""

    column: Column
    start: int
    width: int

    def cell(self, row: Row) -> str:
        """A row's text, exactly as wide as the column."""
        return self._fitted(self.column.text(row))

    def head(self, *, sorted_by: str | None = None, descending: bool = False) -> str:
        """The title, with an arrow where the table is sorted by it; the unit makes room for it."""
        title = self.column.title
        if sorted_by == self.column.key:
            title = (title if len(title) < self.width else title.split()[0]) + ("↓" if descending else "↑")
        return self._fitted(title)

    def _fitted(self, text: str) -> str:
        if len(text) > self.width:
            text = text[: self.width - 1] + "…"
        return text.rjust(self.width) if self.column.right else text.ljust(self.width)


def placed(rows: Sequence[Row], width: int) -> tuple[Placed, ...]:
    """The columns that `width` letters have room for, with two letters between them where that fits, else one.

    Long names are shortened before a column goes.
    """
    wanted = {column.key: _wanted(column, rows) for column in COLUMNS}
    chosen = list(COLUMNS)
    for column in (BY_KEY["release"], BY_KEY["board"]):
        over = _taken(chosen, wanted, 1) - width
        if over > 0:
            wanted[column.key] = max(min(wanted[column.key], SHORT_NAME), wanted[column.key] - over)
    while len(chosen) > 1 and _taken(chosen, wanted, 1) > width:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    gap = 2 if _taken(chosen, wanted, 2) <= width else 1
    found, start = [], 0
    for column in chosen:
        found.append(Placed(column, start, min(wanted[column.key], max(1, width - start))))
        start += wanted[column.key] + gap
    return tuple(found)


def sorted_rows(rows: Sequence[Row], key: str, *, descending: bool) -> list[Row]:
    """Rows by a column; what is not known is last, equals are by name."""
    order = BY_KEY[key].order
    by_name = sorted(rows, key=lambda row: row.name)
    known = [row for row in by_name if order(row) is not None]
    known.sort(key=order, reverse=descending)
    return known + [row for row in by_name if order(row) is None]


def _wanted(column: Column, rows: Sequence[Row]) -> int:
    if not column.flexible:
        return column.width
    longest = max((len(column.text(row)) for row in rows), default=0)
    return min(max(column.width, longest), LONGEST_NAME)


def _taken(columns: Sequence[Column], wanted: dict[str, int], gap: int) -> int:
    return sum(wanted[column.key] for column in columns) + gap * (len(columns) - 1)
