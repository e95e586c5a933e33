"""What the keys do and what the words mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

TEXT = """\
Keys
  ↑ ↓ PgUp PgDn Home End   choose a board
  Enter, double click      its own page; Escape goes back
  s  S  r                  sort by the next column, the one before, reverse
  click on a head          sort by it, again the other way
  /                        show boards with a text in name, state or release
  q  Ctrl-C                quit

States, the worst first
  ✗ lost          its connection ended without a goodbye
  ✗ silent        it could have reported and did not
  ✗ failing       a model does not load, or 5 % of the requests fail
  ✗ inconsistent  an update could neither be finished nor taken back
  ? unreachable   the way to it is closed; that may be this side's doing
  ? unheard       nothing came, but no collector listened either
  ? rolled back, refused    the last update was not kept
  ? errors, hot, throttled  look at it
  · updating, catching up, offline, waiting, not flashed
  ✓ ok

Columns: p50 and p95 are from request to answer, run p95 is CPU time of one
run of the engine; cpu 100 % is one core busy. All of the last seconds.\
"""


class HelpScreen(ModalScreen[None]):
    """Goes away with any key that closes it."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll {
        width: 80; max-width: 100%; height: auto; max-height: 100%; border: round $primary; padding: 0 1;
        background: $surface;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,enter,q", "app.pop_screen", "close")
    ]

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll():
            yield Static(TEXT, markup=False)
