"""Lengths of time as people write them: `5s`, `500ms`, `2m`, `1h`, or a number of seconds."""

from __future__ import annotations

import re

import click

UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]*)\s*")
LEAST_S = 0.1


def duration(text: str) -> float:
    """Seconds, 0.1 or more; as the `type` of an option."""
    found = _WRITTEN.fullmatch(text)
    if found is None or found[2] not in UNITS:
        raise click.BadParameter(f"`{text}` is no length of time like 5s, 500ms, 2m or 1h")
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds < LEAST_S:
        raise click.BadParameter(f"`{text}` is shorter than {LEAST_S:g} s")
    return seconds
