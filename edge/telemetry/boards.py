"""Births, presence and verdicts of the boards: what they say of themselves, and what of it is believed.

The rule: a `lost` or `offline` counts only for the connection that the newest birth names, whatever the order of
arrival (a late will can't declare a live board dead, nor an early one be forgotten). A verdict counts only with the
board's own signature and never backwards. What a broker kept and hands out again is no sign of life.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from agent.contract.codec import decode
from agent.contract.errors import ReportForged
from agent.contract.messages import Birth, Presence, PresenceMessage, Signed, supersedes
from edge.identity import open_report

_READ = "SELECT birth, presence, heard, report, report_counter, report_key, report_rx FROM boards WHERE device = ?"
_WRITE = "INSERT OR REPLACE INTO boards VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, kw_only=True)
class KnownDevice:
    """A board of the fleet, as the inventory has it.

    Attributes:
        name: what people call it. device_id: what it calls itself.
        public_key: that its verdicts are signed with, 64 hexadecimal digits; None while it is not enrolled.
        counter_seen: the highest counter of a verdict accepted from it elsewhere.
    """

    name: str
    device_id: str
    public_key: str | None
    counter_seen: int = 0


Known = Callable[[str], KnownDevice | None]
"""From a device's id to what the inventory has of it."""


@dataclass(slots=True)
class Board:
    """One board; texts are messages as they came, `early` is what came before the birth that it speaks of."""

    birth_text: str | None = None
    presence_text: str | None = None
    heard: float | None = None
    report_text: str | None = None
    report_counter: int = 0
    report_key: str | None = None
    report_rx: float | None = None
    birth: Birth | None = None
    presence: PresenceMessage | None = None
    early: tuple[PresenceMessage, str] | None = None


class Boards:
    """The boards that were heard of, and those among them that changed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Know only what the file holds."""
        self._known: dict[str, Board] = {}
        self.changed: dict[str, Board] = {}

    def born(self, birth: Birth, text: str, *, heard: float | None) -> None:
        """A birth came. `heard`: when, or None where the broker had kept it."""
        board = self._changing(birth.device, heard)
        old = board.birth
        if old is not None and old.boot == birth.boot and birth.connection < old.connection:
            return
        board.birth, board.birth_text = birth, text
        if board.presence is not None and not supersedes(birth.boot, birth.connection, board.presence):
            board.presence = board.presence_text = None
        if board.early is not None and supersedes(birth.boot, birth.connection, board.early[0]):
            board.presence, board.presence_text = board.early
        board.early = None

    def present(self, message: PresenceMessage, text: str, *, heard: float | None) -> None:
        """A presence came. The broker speaks for a lost board: that is no sign of life."""
        lost = message.presence is Presence.LOST
        board = self._changing(message.device, None if lost else heard)
        if board.birth is None or supersedes(board.birth.boot, board.birth.connection, message):
            board.presence, board.presence_text = message, text
        else:
            board.early = (message, text)

    def reported(
        self, signed: Signed, text: str, device: KnownDevice, *, rx: float, heard: float | None
    ) -> None:
        """A verdict came.

        Raises:
            ReportForged: it is not that board's word.
            ReportReplayed: it is older than one that was seen.
            DocumentInvalid: what is signed is no report.
        """
        board = self._get(device.device_id)
        if device.public_key is None:
            raise ReportForged(
                device=device.device_id, reason="that board was never enrolled by this fleet folder"
            )
        if text != board.report_text or device.public_key != board.report_key:
            same_key = board.report_key == device.public_key
            seen = max(device.counter_seen, board.report_counter if same_key else 0)
            open_report(signed, device=device.device_id, public_key=device.public_key, counter_seen=seen)
            board.report_text, board.report_counter = text, signed.counter
            board.report_key, board.report_rx = device.public_key, rx
        self._changing(device.device_id, heard)

    def write(self) -> None:
        """Write what changed."""
        rows = [
            (
                device, board.birth_text, board.presence_text, board.heard,
                board.report_text, board.report_counter, board.report_key, board.report_rx,
            )
            for device, board in self.changed.items()
        ]  # fmt: skip
        self._connection.executemany(_WRITE, rows)

    def _changing(self, device: str, heard: float | None) -> Board:
        board = self.changed[device] = self._get(device)
        if heard is not None:
            board.heard = heard
        return board

    def _get(self, device: str) -> Board:
        board = self._known.get(device)
        if board is None:
            row = self._connection.execute(_READ, (device,)).fetchone()
            board = self._known[device] = Board(*row) if row else Board()
            if board.birth_text is not None:
                board.birth = decode(Birth, board.birth_text.encode())
            if board.presence_text is not None:
                board.presence = decode(PresenceMessage, board.presence_text.encode())
        return board
