"""A board's own page on the screen."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from edge.dashboard.page import sections, told
from edge.dashboard.source import BoardReading


class BoardScreen(Screen[None]):
    """One board, live. `board`: its name."""

    CSS = """
    #head { padding: 0 1; background: $panel; }
    #body { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,backspace,left", "back", "back")]

    def __init__(self, board: str) -> None:
        super().__init__()
        self.board = board

    def compose(self) -> ComposeResult:
        """How it is, then all the rest, which scrolls."""
        yield Static(self.board, id="head", markup=False)
        with VerticalScroll():
            yield Static("…", id="body", markup=False)
        yield Footer()

    def show(self, reading: BoardReading | None) -> None:
        """Show how the board is now; None where it is of the fleet no more."""
        head, body = self.query_one("#head", Static), self.query_one("#body", Static)
        if reading is None:
            head.update(f"{self.board} is not in this fleet any more")
            body.update("")
            return
        head.update(self._head(reading))
        text = Text()
        for section in sections(reading):
            text.append(f"\n{section.title}\n", "bold")
            text.append("".join(f"  {line}\n" for line in section.lines()))
        body.update(text)

    def _head(self, reading: BoardReading) -> Text:
        """The board's name and all that can be said of it, a line each."""
        text = Text()
        for number, condition in enumerate(told(reading)):
            text.append(f"{self.board if number == 0 else '':{len(self.board)}}  ", "bold")
            text.append(f"{condition.level.sign} {condition.word}", condition.level.colour or "")
            text.append(f"  {condition.reason}\n" if condition.reason else "\n")
        if reading.trouble:
            text.append(f"? {reading.trouble}\n", "yellow")
        text.rstrip()
        return text

    def action_back(self) -> None:
        """To the table."""
        self.dismiss()
