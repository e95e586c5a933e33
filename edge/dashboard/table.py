"""The table of boards on the screen: drawn by the line, so that two hundred boards cost no more than are seen.

The rule: the cursor stays on its board, wherever sorting, filtering and news put it; only the screen's own lines are
ever drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from edge.dashboard.columns import BY_KEY, Placed, placed, sorted_rows
from edge.dashboard.row import Row, by_severity

HEAD = 1
"""Lines above the boards."""


class BoardTable(ScrollView, can_focus=True):
    """Boards as rows, sorted and filtered.

    Attributes:
        chosen: the name of the board under the cursor, or None without any.
        sort_key: of a column, or None for the worst first. descending: of that column.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--head", "table--cursor", "table--bad", "table--doubt", "table--note", "table--good",
    }  # fmt: skip
    DEFAULT_CSS = """
    BoardTable {
        height: 1fr; background: $background;
        overflow-x: hidden; scrollbar-gutter: stable; scrollbar-size-vertical: 1;
    }
    BoardTable > .table--head { text-style: bold; background: $panel; }
    BoardTable > .table--cursor { background: $block-cursor-blurred-background; }
    BoardTable:focus > .table--cursor { background: $surface-lighten-2; }
    BoardTable > .table--bad { color: $text-error; text-style: bold; }
    BoardTable > .table--doubt { color: $text-warning; }
    BoardTable > .table--note { color: $text-muted; }
    BoardTable > .table--good { color: $text-success; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "a page up", show=False),
        Binding("pagedown", "page(1)", "a page down", show=False),
        Binding("home", "move(-1000000)", "first", show=False),
        Binding("end", "move(1000000)", "last", show=False),
        Binding("enter", "open", "board"),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "sort(-1)", "sort back", show=False),
        Binding("r", "reverse", "reverse"),
    ]

    class Opened(Message):
        """A board's own page is asked for."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__()
        self.chosen: str | None = None
        self.sort_key: str | None = None
        self.descending = False
        self._filter = ""
        self._all: Sequence[Row] = ()
        self._rows: list[Row] = []
        self._columns: tuple[Placed, ...] = ()

    def show(self, rows: Sequence[Row]) -> None:
        """Show these boards from now on."""
        self._all = rows
        self._put_in_order()

    def filter(self, text: str) -> None:
        """Show only boards with this text in their name, state or releases."""
        self._filter = text.strip().lower()
        self._put_in_order()

    @property
    def shown(self) -> Sequence[Row]:
        """The rows, as they stand."""
        return self._rows

    # --- what is where

    def _put_in_order(self) -> None:
        rows = [row for row in self._all if self._filter in _searched(row)]
        self._rows = (
            by_severity(rows)
            if self.sort_key is None
            else sorted_rows(rows, self.sort_key, descending=self.descending)
        )
        names = [row.name for row in self._rows]
        if self.chosen not in names:
            self.chosen = names[0] if names else None
        self._place()

    def _place(self) -> None:
        width = self.scrollable_content_region.width
        self._columns = placed(self._rows, max(1, width - 1))
        self.virtual_size = Size(width, len(self._rows) + HEAD)
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """There is more or less room for columns."""
        self._place()

    @property
    def _at(self) -> int:
        """The cursor's place among the rows."""
        return next((at for at, row in enumerate(self._rows) if row.name == self.chosen), 0)

    # --- what is drawn

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        if y < HEAD:
            head = self.get_component_rich_style("table--head")
            heads = [
                (column, column.head(sorted_by=self.sort_key, descending=self.descending), head)
                for column in self._columns
            ]
            return self._strip(heads, head)
        at = y - HEAD + int(self.scroll_offset.y)
        if at >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        row = self._rows[at]
        usual = self.get_component_rich_style("table--cursor") if row.name == self.chosen else self.rich_style
        level = self.get_component_rich_style(f"table--{row.condition.level.name.lower()}")
        state = usual + Style(color=level.color, bold=level.bold)
        cells = [(c, c.cell(row), state if c.column.key == "state" else usual) for c in self._columns]
        return self._strip(cells, usual)

    def _strip(self, cells: Sequence[tuple[Placed, str, Style]], usual: Style) -> Strip:
        segments, end = [], 0
        for column, text, style in cells:
            segments += [Segment(" " * (column.start + 1 - end), usual), Segment(text, style)]
            end = column.start + 1 + column.width
        return Strip(segments).adjust_cell_length(self.size.width, usual)

    # --- what is done

    def action_move(self, steps: int) -> None:
        """Move the cursor."""
        if self._rows:
            self._choose(min(max(self._at + steps, 0), len(self._rows) - 1))

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is seen."""
        self.action_move(pages * max(1, self.size.height - HEAD - 1))

    def action_open(self) -> None:
        """Ask for the page of the board under the cursor."""
        if self.chosen is not None:
            self.post_message(self.Opened(self.chosen))

    def action_sort(self, steps: int) -> None:
        """Sort by the next column that is shown, or the one before; after the last: the worst first."""
        keys = [None, *(column.column.key for column in self._columns)]
        at = keys.index(self.sort_key) if self.sort_key in keys else 0
        self.sort_by(keys[(at + steps) % len(keys)])

    def action_reverse(self) -> None:
        """The other way round."""
        if self.sort_key is not None:
            self.descending = not self.descending
            self._put_in_order()

    def sort_by(self, key: str | None) -> None:
        """Sort by a column; None: the worst first."""
        self.sort_key = key
        self.descending = key is not None and BY_KEY[key].descending
        self._put_in_order()

    def on_click(self, event: events.Click) -> None:
        """A head sorts, again the other way; a board is chosen, and opened by a second click."""
        if event.y < HEAD:
            self._head_clicked(event.x)
            return
        at = event.y - HEAD + int(self.scroll_offset.y)
        if at < len(self._rows):
            self._choose(at)
            if event.chain > 1:
                self.action_open()

    def _head_clicked(self, x: int) -> None:
        for column in self._columns:
            if column.start <= x - 1 < column.start + column.width + 1:
                if self.sort_key == column.column.key:
                    self.action_reverse()
                else:
                    self.sort_by(column.column.key)

    def _choose(self, at: int) -> None:
        self.chosen = self._rows[at].name
        self.scroll_to_region(Region(0, at, 1, 1 + HEAD), animate=False, force=True)
        self.refresh()


def _searched(row: Row) -> str:
    return " ".join((row.name, row.condition.word, *row.releases)).lower()
