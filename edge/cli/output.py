"""What a person and a script see: data on stdout, talk on stderr.

The rule: colour is never the only sign, `NO_COLOR` and a missing terminal switch it off, and a script that asked for
`--json` gets one JSON document on stdout whatever happens.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from agent.contract.codec import to_plain
from agent.contract.errors import EdgeError

SIGNS = {"good": ("✓", "green"), "bad": ("✗", "red"), "doubt": ("?", "yellow"), "note": ("·", None)}


def show_error(error: EdgeError) -> None:
    """Print an error as every command does: what failed, then the hint; one JSON object where `--json` was asked."""
    if "--json" in sys.argv[1:]:
        click.echo(json.dumps({"error": error.to_plain()}, ensure_ascii=False))
    click.echo(f"{_styled('error', 'red')}: {error} [{error.code}]", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def data(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(to_plain(document), ensure_ascii=False, indent=2))


def line(sign: str, text: str) -> None:
    """One line of talk with a sign: `good`, `bad`, `doubt` or `note`."""
    mark, colour = SIGNS[sign]
    click.echo(f"{_styled(mark, colour)} {text}", err=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table on stdout. `right` are the numbers of the columns that are aligned to the right."""
    widths = [max(len(str(row[index])) for row in [headers, *rows]) for index in range(len(headers))]
    for number, row in enumerate([headers, *rows]):
        cells = [
            str(cell).rjust(width) if index in right else str(cell).ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        text = "  ".join(cells).rstrip()
        click.echo(_styled(text, "bold") if number == 0 else text)


def size(count_bytes: int) -> str:
    """`1.2 MB`; decimal units."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count_bytes >= factor:
            return f"{count_bytes / factor:.1f} {unit}"
    return f"{count_bytes} B"


def ago(seconds_since_1970: int | None) -> str:
    """`2026-11-23 22:13:00 (5 min ago)`, in UTC."""
    if not seconds_since_1970:
        return "never"
    passed = max(0, int(time.time()) - seconds_since_1970)
    unit = next(
        (
            f"{passed // length} {name}"
            for name, length in (("d", 86400), ("h", 3600), ("min", 60))
            if passed >= length
        ),
        f"{passed} s",
    )
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds_since_1970))} UTC ({unit} ago)"


class Steps:
    """Progress of a command (`edge.progress.Progress`): a line a step on stderr, a bar for transfers on a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar = not quiet and sys.stderr.isatty()
        self._open = False
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """One line for one step that was done."""
        self._end_bar()
        if not self._quiet:
            line("good", f"{text}  {_styled(f'{time.monotonic() - self._began:.1f} s', 'dim')}")

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """How far a transfer is."""
        if not self._bar or total_bytes <= 0:
            return
        part = min(1.0, done_bytes / total_bytes)
        filled = round(part * 24)
        bar = "━" * filled + " " * (24 - filled)
        text = f"\r  {what[:28]:28} {bar} {part:4.0%} {size(done_bytes)} of {size(total_bytes)}"
        click.echo(f"{text:<92}"[:100], err=True, nl=False)
        self._open = True
        if done_bytes >= total_bytes:
            self._end_bar()

    @property
    def passed_s(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began

    def _end_bar(self) -> None:
        if self._open:
            click.echo("\r" + " " * 100 + "\r", err=True, nl=False)
            self._open = False


def confirm(question: str, *, yes: bool) -> bool:
    """Ask, unless `--yes` was given; without a terminal nothing is asked and the answer is no."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return click.confirm(question, err=True)


def _styled(text: str, style: str | None) -> str:
    if style is None or os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    if style in ("bold", "dim"):
        return click.style(text, bold=style == "bold", dim=style == "dim")
    return click.style(text, fg=style)
