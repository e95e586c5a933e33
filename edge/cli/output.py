"""What a person and a script see: data on stdout, talk on stderr.

The rule: colour is never the only sign, `NO_COLOR` and a missing terminal switch it off, and a script that asked for
`--json` gets one JSON document on stdout whatever happens. Nothing is asked where nobody can answer. What a board or
a file says is text: its control characters are shown, and never reach the terminal.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from agent.contract import wording
from agent.contract.codec import to_plain
from agent.contract.errors import EdgeError

if TYPE_CHECKING:
    from agent.contract.said import Row

SIGNS = {"good": ("✓", "green"), "bad": ("✗", "red"), "doubt": ("?", "yellow"), "note": ("·", None)}
USUAL_COLUMNS = 80
INDENT = 2


def show_error(error: EdgeError, *, as_json: bool = False) -> None:
    """Print an error as every command does: what failed, then the hint; one JSON object where `--json` was asked."""
    if as_json:
        click.echo(json.dumps({"error": error.to_plain()}, ensure_ascii=False))
    talk(f"{_styled('error', 'red')}: {visible(str(error))} [{error.code}]")
    hint(error.hint)


def data(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(to_plain(document), ensure_ascii=False, indent=2))


def talk(text: str) -> None:
    """One line on stderr; a bar that is there goes first."""
    _bar.clear()
    click.echo(text, err=True)


def line(sign: str, text: str, *, aside: str = "") -> None:
    """One line of talk with a sign: `good`, `bad`, `doubt` or `note`; on a terminal long text goes on below itself.

    Args:
        sign: of `SIGNS`.
        text: what is said.
        aside: what follows it, paler.
    """
    mark, colour = SIGNS[sign]
    text, aside = visible(text), visible(aside)
    whole = f"{text}  {aside}" if aside else text
    if is_terminal(sys.stderr):
        whole = f"\n{' ' * INDENT}".join(_wrapped(whole, columns(sys.stderr) - INDENT))
    if aside and whole.endswith(aside):
        whole = whole.removesuffix(aside) + _styled(aside, "dim")
    talk(f"{_styled(mark, colour)} {whole}")


def hint(text: str | None) -> None:
    """What would help, if anything."""
    if text:
        talk(f"hint: {visible(text)}")


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Names and what is known of them, on stdout; long text goes on below itself on a terminal."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        head, text = f"  {name:{width}}  ", visible(text)
        if is_terminal(sys.stdout):
            text = f"\n{' ' * len(head)}".join(_wrapped(text, columns(sys.stdout) - len(head)))
        click.echo(f"{head}{text}".rstrip())


def rows(title: str | None, found: Sequence[Row]) -> None:
    """A part of a report on stdout: its title, and its rows with their signs; long text goes on below itself."""
    if title:
        click.echo(f"\n{_styled(title, 'bold', sys.stdout)}")
    for row in found:
        mark, colour = SIGNS.get(row.sign, (" ", None))
        text = visible(row.text)
        if is_terminal(sys.stdout):
            text = f"\n{' ' * 14}".join(_wrapped(text, columns(sys.stdout) - 14))
        click.echo(f"{_styled(mark, colour, sys.stdout)} {row.name:10}  {text}".rstrip())


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table on stdout; on a terminal that it is too wide for, the rows below each other as names and values.

    Args:
        headers: of the columns.
        rows: their cells.
        right: numbers of the columns that are aligned to the right.
    """
    rows = [[visible(str(cell)) for cell in row] for row in rows]
    widths = [max(len(str(row[index])) for row in [headers, *rows]) for index in range(len(headers))]
    if is_terminal(sys.stdout) and sum(widths) + 2 * len(widths) - 2 > columns(sys.stdout):
        for number, row in enumerate(rows):
            if number:
                click.echo()
            facts([(name, str(cell)) for name, cell in zip(headers, row, strict=True) if str(cell)])
        return
    for number, row in enumerate([headers, *rows]):
        cells = [
            str(cell).rjust(width) if index in right else str(cell).ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        text = "  ".join(cells).rstrip()
        click.echo(_styled(text, "bold") if number == 0 else text)


def visible(text: str) -> str:
    r"""Text without what a terminal would obey: a control character becomes `\x1b`; line ends, tabs and spaces stay."""
    if text.isprintable():
        return text
    kept = "\n\t\u00a0\u202f\u2009"
    return "".join(
        character if character.isprintable() or character in kept else ascii(character)[1:-1]
        for character in text
    )


def size(count_bytes: int) -> str:
    """`1.2 MB`; decimal units."""
    return wording.size(count_bytes)


def ago(seconds_since_1970: int | None) -> str:
    """`2026-11-23 22:13:00 UTC (5 min ago)`."""
    return wording.ago(seconds_since_1970, int(time.time()))


class Steps:
    """Progress of a command (`edge.progress.Progress`): a line a step on stderr, a bar for transfers on a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """One line for one step that was done."""
        if not self._quiet:
            line("good", text, aside=f"{self.passed_s:.1f} s")

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """How far a transfer is."""
        if not self._quiet and total_bytes > 0:
            _bar.draw(what, done_bytes, total_bytes)

    @property
    def passed_s(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began


class Bar:
    """The one line at the bottom of a terminal that is written over; elsewhere nothing."""

    EVERY_S = 0.1

    def __init__(self) -> None:
        self._shown = 0
        self._next = 0.0

    def draw(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Show how far a transfer is; ten times a second at most. A bar that is full goes away."""
        if done_bytes >= total_bytes:
            self.clear()
            return
        now = time.monotonic()
        if now < self._next or not is_terminal(sys.stderr):
            return
        self._next = now + self.EVERY_S
        text = bar_text(what, done_bytes, total_bytes, columns(sys.stderr) - 1)
        click.echo("\r" + text.ljust(self._shown), err=True, nl=False)
        self._shown = len(text)

    def clear(self) -> None:
        """Leave the line empty for what comes next."""
        if self._shown:
            click.echo("\r" + " " * self._shown + "\r", err=True, nl=False)
            self._shown = 0


def bar_text(what: str, done_bytes: int, total_bytes: int, width: int) -> str:
    """`  the runtime  ━━━━      42%  13.1 MB of 31.0 MB`, never wider than `width`; the bar takes what room is left."""
    part = min(1.0, done_bytes / total_bytes)
    end = f" {part:4.0%}  {size(done_bytes)} of {size(total_bytes)}"
    room = width - len(end) - len(what) - 4
    if room < 8:
        return f"  {what}{end}"[:width]
    filled = round(part * min(room, 30))
    return f"  {what}  {'━' * filled}{' ' * (min(room, 30) - filled)}{end}"


_bar = Bar()


def confirm(question: str, *, yes: bool) -> bool | None:
    """Ask, unless `--yes` was given. None without a terminal: nobody was asked."""
    if yes:
        return True
    if not can_ask():
        return None
    _bar.clear()
    return click.confirm(question, err=True)


def can_ask() -> bool:
    """Whether a person can read a question and answer it."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream, which may have been closed, is a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def columns(stream: TextIO) -> int:
    """Width of a terminal; 80 where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError):
        return USUAL_COLUMNS


def _wrapped(text: str, width: int) -> list[str]:
    """Text in lines; what can be copied, like a path, stays whole."""
    return textwrap.wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False) or [""]


def _styled(text: str, style: str | None, stream: TextIO | None = None) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if style is None or plain or not is_terminal(stream or sys.stderr):
        return text
    if style in ("bold", "dim"):
        return click.style(text, **{style: True})  # one that is said to be off ends the other
    return click.style(text, fg=style)
