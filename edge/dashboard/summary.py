"""The fleet in one line."""

from __future__ import annotations

import time
from collections import Counter

from edge.dashboard.condition import Level
from edge.dashboard.source import Reading

WORDS = {Level.BAD: "bad", Level.DOUBT: "in doubt", Level.NOTE: "other", Level.GOOD: "ok"}


def summary(reading: Reading) -> str:
    """`4 boards: ✗ 1 bad, ✓ 3 ok  80.0 req/s  14:02:03  demo-ab12cd`; and that nobody collects, where that is so."""
    levels = Counter(row.condition.level for row in reading.rows)
    parts = ", ".join(f"{level.sign} {levels[level]} {WORDS[level]}" for level in Level if levels[level])
    boards = f"{len(reading.rows)} board{'' if len(reading.rows) == 1 else 's'}"
    rates = [row.requests_per_s for row in reading.rows if row.requests_per_s is not None]
    told = [f"{boards}: {parts}" if parts else "no board: add one with `edge device add`"]
    if not reading.collected:
        told.append("? no collector runs")
    if rates:
        told.append(f"{sum(rates):.1f} req/s")
    return "  ".join([*told, time.strftime("%H:%M:%S", time.localtime(reading.at)), reading.fleet])
