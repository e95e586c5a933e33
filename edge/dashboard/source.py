"""Where a screen's rows come from: the inventory and the store, read again and again.

The rule: reading never fails for what comes and goes. A store that is not there yet, is written just now or was torn is
a sentence beside the rows that are known; what can't change (the inventory's files) is read when it changed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.contract.errors import EdgeError
from edge.collector import client
from edge.config import FleetFolder
from edge.dashboard.row import Row, row
from edge.inventory import Device, Inventory
from edge.telemetry import query
from edge.telemetry.records import BoardNow, StoredEvent, StoredSample, StreamState
from edge.telemetry.store import Store

LEAST_SPAN_S = 10.0
SPAN_INTERVALS = 3
ASK_S = 3.0
"""How often it is asked whether a collector is there."""
PAGE_SAMPLES = 9
PAGE_EVENTS = 10


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The fleet at one moment.

    Attributes:
        at: seconds since 1970.
        fleet: its name. rows: of all devices of the inventory, by name.
        collected: a collector runs, so that there will be news.
        trouble: why the store says nothing now, a sentence; None where it was read.
    """

    at: float
    fleet: str
    rows: tuple[Row, ...]
    collected: bool = True
    trouble: str | None = None


@dataclass(frozen=True, kw_only=True)
class BoardReading:
    """All that a board's page shows.

    Attributes:
        at: seconds since 1970.
        device: as the inventory has it. row: as in the table. board: as the store knows it, or None.
        interval_s: how often it reports.
        samples, events: the newest, oldest first. streams: all, in the order in which they were heard of.
        trouble: as `Reading`'s.
    """

    at: float
    device: Device
    row: Row
    board: BoardNow | None
    interval_s: float
    samples: tuple[StoredSample, ...] = ()
    events: tuple[StoredEvent, ...] = ()
    streams: tuple[StreamState, ...] = ()
    trouble: str | None = None


class Source:
    """Reads a fleet folder. A context manager; who closes it waits for a reading that is under way elsewhere."""

    def __init__(self, fleet: FleetFolder) -> None:
        self._fleet = fleet
        self._interval_s = fleet.config.interval_s
        self._span_s = max(LEAST_SPAN_S, SPAN_INTERVALS * self._interval_s)
        self._one = threading.RLock()
        self._store: Store | None = None
        self._store_of = 0
        self._devices: tuple[Device, ...] = ()
        self._devices_of: int | None = None
        self._collector_there = False
        self._ask_at = 0.0

    def read(self) -> Reading:
        """The fleet now.

        Raises:
            DocumentInvalid: a device's file is damaged.
        """
        with self._one:
            devices, now = self._inventory(), time.time()
            known, trouble = self._fleet_now([device.device_id for device in devices], now)
            rows = tuple(self._row(device, known.get(device.device_id), now) for device in devices)
            return Reading(
                at=now,
                fleet=self._fleet.config.fleet,
                rows=rows,
                collected=self._collected(),
                trouble=trouble,
            )

    def read_board(self, name: str) -> BoardReading | None:
        """A board now; None where the inventory has none of that name any more.

        Raises:
            DocumentInvalid: a device's file is damaged.
        """
        with self._one:
            device = next((device for device in self._inventory() if device.name == name), None)
            return None if device is None else self._board(device)

    def close(self) -> None:
        """Let go of the store."""
        with self._one:  # SQLite does not bear that a store is closed while another thread reads it
            if self._store is not None:
                self._store.close()
            self._store = None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _inventory(self) -> tuple[Device, ...]:
        """The inventory, by name. A file is replaced, never changed, so its folder tells when to look again."""
        with contextlib.suppress(FileNotFoundError):
            changed = self._fleet.devices.stat().st_mtime_ns
            if changed != self._devices_of:
                self._devices, self._devices_of = Inventory(self._fleet).list(), changed
        return self._devices

    def _board(self, device: Device) -> BoardReading:
        now = time.time()
        known, trouble = self._fleet_now([device.device_id], now)
        board = known.get(device.device_id)
        found = BoardReading(
            at=now,
            device=device,
            row=self._row(device, board, now),
            board=board,
            interval_s=self._interval_s,
            trouble=trouble,
        )
        return found if trouble or self._store is None else self._with_past(found, self._store)

    def _fleet_now(self, ids: list[str], now: float) -> tuple[Mapping[str, BoardNow], str | None]:
        """What the store knows of these boards, and the sentence that says why it is nothing."""
        try:
            store = self._open()
            boards = query.fleet_now(store, span_s=self._span_s, now=now, devices=ids)
        except EdgeError as error:
            self.close()
            return {}, str(error)
        return {board.device: board for board in boards}, None

    def _open(self) -> Store:
        """The store; what was put in its place is opened anew."""
        with contextlib.suppress(FileNotFoundError):
            file = self._fleet.store.stat().st_ino
            if self._store is not None and file == self._store_of:
                return self._store
            self._store_of = file
        self.close()
        self._store = Store.open(self._fleet.store)
        return self._store

    def _collected(self) -> bool:
        if time.monotonic() >= self._ask_at:
            self._collector_there = client.running(self._fleet) is not None
            self._ask_at = time.monotonic() + ASK_S
        return self._collector_there

    def _row(self, device: Device, board: BoardNow | None, now: float) -> Row:
        return row(
            device.name,
            device.device_id,
            board,
            flashed=device.enrolled,
            interval_s=self._interval_s,
            now=now,
        )

    def _with_past(self, found: BoardReading, store: Store) -> BoardReading:
        device = found.device.device_id
        try:
            return replace(
                found,
                samples=tuple(query.samples(store, device=device, limit=PAGE_SAMPLES)),
                events=tuple(query.events(store, device=device, limit=PAGE_EVENTS)),
                streams=query.streams(store, device=device),
            )
        except EdgeError as error:
            self.close()
            return replace(found, trouble=str(error))
