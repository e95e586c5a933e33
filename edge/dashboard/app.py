"""`edge watch` in a terminal: the fleet as a table, a board's page, a filter, help.

The rule: the store is read in a thread, one reading at a time, so that the screen answers at once whatever the disk
does; every screen shows the newest reading and nothing else.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input, Static

from agent.contract.errors import EdgeError, Interrupted
from edge.dashboard.board_screen import BoardScreen
from edge.dashboard.help_screen import HelpScreen
from edge.dashboard.source import Reading, Source
from edge.dashboard.summary import summary
from edge.dashboard.table import BoardTable


class WatchApp(App[EdgeError]):
    """The fleet, live. What ended it against the user's will is its return value.

    Args:
        source: where the rows come from; closed by who opened it, after the app has ended.
        interval_s: how often it is read.
        for_s: when the app ends by itself; None for never.
    """

    TITLE = "edge watch"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #summary { height: 1; padding: 0 1; background: $panel; }
    #trouble { padding: 0 1; color: $text-warning; display: none; }
    #filter { border: none; height: 1; padding: 0 1; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "clear", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("ctrl+z", "suspend_process", show=False),
    ]

    def __init__(self, source: Source, *, interval_s: float = 1.0, for_s: float | None = None) -> None:
        super().__init__()
        self._source = source
        self._interval_s = interval_s
        self._for_s = for_s
        self._summary = Static(id="summary", markup=False)
        self._trouble = Static(id="trouble", markup=False)
        self._table = BoardTable()
        self._filter = Input(id="filter", placeholder="name, state or release; Enter keeps, Escape shows all")
        self._page: BoardScreen | None = None
        self._wanted = asyncio.Event()

    def compose(self) -> ComposeResult:
        """Summary, trouble, table, filter, keys."""
        yield self._summary
        yield self._trouble
        yield self._table
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        # Without it a signal would leave the terminal as the screen had it.
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError, NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, Interrupted())
        self._table.focus()
        self.run_worker(self._go_on(), exclusive=True)
        if self._for_s is not None:
            self.set_timer(self._for_s, self.exit)

    async def _go_on(self) -> None:
        """Read and show, again and again; at once when another page is asked for."""
        while True:
            began = time.monotonic()
            self._wanted.clear()
            try:
                await self._look()
            except EdgeError as error:
                self.exit(error)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + self._interval_s - time.monotonic())):
                    await self._wanted.wait()

    async def _look(self) -> None:
        page = self._page
        if page is None:
            reading = await asyncio.to_thread(self._source.read)
            if self._table.is_attached:  # the app may have ended meanwhile
                self._show(reading)
            return
        board = await asyncio.to_thread(self._source.read_board, page.board)
        if page is self._page and page.is_attached:
            page.show(board)

    def _show(self, reading: Reading) -> None:
        self._table.show(reading.rows)
        self._summary.update(summary(reading))
        self._trouble.update(reading.trouble or "")
        self._trouble.display = reading.trouble is not None

    @on(BoardTable.Opened)
    async def _turn_to(self, event: BoardTable.Opened) -> None:
        page = BoardScreen(event.name)
        await self.push_screen(page, self._turn_back)
        self._page = page
        self._wanted.set()

    def _turn_back(self, _result: None) -> None:
        self._page = None
        self._wanted.set()

    def action_help(self) -> None:
        """Say what the keys and the words mean."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """What is about the table is offered where the table is."""
        return action not in ("filter", "clear") or len(self.screen_stack) == 1

    def action_filter(self) -> None:
        """Ask for a text that boards must have."""
        self._filter.display = True
        self._filter.focus()

    def action_clear(self) -> None:
        """All boards again."""
        self._filter.value = ""
        self._kept()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._table.filter(event.value)

    @on(Input.Submitted, "#filter")
    def _kept(self) -> None:
        self._filter.display = bool(self._filter.value)
        self._table.focus()
