"""The boards of the fleet as the inventory has them now, followed by the times of its files.

The rule: a file is read when it changed, never for each message; one that is damaged leaves what was known of its board
as it was, and is said once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from agent.contract.codec import decode
from agent.contract.errors import DocumentInvalid
from edge.config import FleetFolder
from edge.inventory import Device
from edge.telemetry.boards import KnownDevice

log = logging.getLogger(__name__)

SETTLED_NS = 10**9

Stamp = tuple[int, int, int]
"""Of a file: when it was written, its number, its length."""


class Members:
    """The devices by id. `refresh` is called by one thread at a time; the others read.

    Attributes:
        enrolled: those that were flashed once, by id.
    """

    def __init__(self, fleet: FleetFolder) -> None:
        self._folder = fleet.devices
        self._written = 0
        self._stamps: dict[str, Stamp] = {}
        self._devices: dict[str, Device] = {}
        self._known: Mapping[str, KnownDevice] = {}
        self.enrolled: Mapping[str, Device] = {}

    def known(self, device_id: str) -> KnownDevice | None:
        """What the store asks of the device with this id; None where there is none."""
        return self._known.get(device_id)

    def refresh(self) -> bool:
        """Look at the folder; whether anything changed. Files are replaced, never written over, so that the folder's
        own time tells; one that is too young may change again within its granularity."""
        try:
            written = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if written == self._written:
            return False
        self._written = written if time.time_ns() - written > SETTLED_NS else 0
        return self._look_at_all()

    def _look_at_all(self) -> bool:
        there = {path.stem: path for path in self._folder.glob("*.json") if not path.name.startswith(".")}
        changed = False
        for name in self._stamps.keys() - there.keys():
            del self._stamps[name]
            self._devices.pop(name, None)
            changed = True
        for name, path in there.items():
            changed |= self._look(name, path)
        if changed:
            self._known = {device.device_id: _known(device) for device in self._devices.values()}
            self.enrolled = {device.device_id: device for device in self._devices.values() if device.enrolled}
        return changed

    def _look(self, name: str, path: Path) -> bool:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._stamps.get(name) == stamp:
                return False
            data = path.read_bytes()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("`%s` can't be read: %s", path, error)
            return False
        self._stamps[name] = stamp
        try:
            device = decode(Device, data)
        except DocumentInvalid as error:
            log.warning("`%s`: %s", path, error)
            return False
        if self._devices.get(name) == device:
            return False
        self._devices[name] = device
        return True


def _known(device: Device) -> KnownDevice:
    return KnownDevice(
        name=device.name,
        device_id=device.device_id,
        public_key=device.public_key,
        counter_seen=device.counter_seen,
    )
