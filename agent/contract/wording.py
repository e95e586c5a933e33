"""How numbers and times are said to people, on the board and on the laptop alike."""

from __future__ import annotations

from datetime import datetime, timezone

LAST_SECOND = 253_402_300_800
"""Of the year 9999."""
DAY_S = 86_400


def size(count_bytes: int) -> str:
    """`1.2 MB`; decimal units."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count_bytes >= factor:
            return f"{count_bytes / factor:.1f} {unit}"
    return f"{count_bytes} B"


def ago(seconds_since_1970: int | None, now: int) -> str:
    """`2026-11-23 22:13:00 UTC (5 min ago)`."""
    if not seconds_since_1970:
        return "never"
    if not 0 < seconds_since_1970 < LAST_SECOND:
        return f"at the impossible time {seconds_since_1970:.3g}"
    passed = max(0, now - seconds_since_1970)
    units = (("d", DAY_S), ("h", 3600), ("min", 60))
    unit = next((f"{passed // length} {name}" for name, length in units if passed >= length), f"{passed} s")
    return f"{shown(seconds_since_1970)} ({unit} ago)"


def shown(seconds_since_1970: int) -> str:
    """`2026-11-23 22:13:00 UTC`, or the number itself where no calendar reaches."""
    if not 0 <= seconds_since_1970 < LAST_SECOND:
        return f"{seconds_since_1970} s"
    return f"{datetime.fromtimestamp(seconds_since_1970, tz=timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
