"""The fleet's devices: one JSON file each in `devices/`.

The rule: a file is written whole or not at all, and read strictly; a name that is not in the folder never
becomes a path. What a newer edge wrote into a file is kept by an older one. Two commands at work never write
over each other: a change is made to what the file holds now.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.contract.codec import decode, encode
from agent.contract.errors import DeviceBusy, DeviceExists, DeviceUnknown, DocumentInvalid
from agent.contract.names import check_name
from agent.contract.profile import BoardFacts
from edge import durable
from edge.config import FleetFolder, lock
from edge.suggestion import did_you_mean

DEVICE_SCHEMA = "edge.device/1"
BUSY_WAIT_S = 1.0
"""How long a command waits for another one that is at work on the same board."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One board as this fleet folder knows it.

    Attributes:
        name: what the user calls it; unique in the fleet.
        device_id: random; what the board, its desired state and its messages call it.
        host, port, user: where and as whom it is reached over SSH. It is never identified by them.
        host_key: pinned, in OpenSSH's form, `ssh-ed25519 AAAA…`. fingerprint: of it, `SHA256:…`.
        profile: the chosen profile's name, or None while it was not probed.
        serial: the hardware serial that the id is bound to, or None while it is not enrolled.
        public_key: the board's own Ed25519 key, 64 hexadecimal digits, or None while it is not enrolled.
        service: who keeps its agent running (`agent.contract.board.SERVICES`), or None.
        root: edge's folder on the board, or None.
        facts: of the last probe, or None.
        counter_seen: the highest counter of a signed report from it; what is older is refused.
        added_at: seconds since 1970, UTC.
        simulated: made by `edge sim`.
    """

    name: str
    device_id: str
    host: str
    user: str
    host_key: str
    fingerprint: str
    port: int = 22
    profile: str | None = None
    serial: str | None = None
    public_key: str | None = None
    service: str | None = None
    root: str | None = None
    facts: BoardFacts | None = None
    counter_seen: int = 0
    added_at: int = 0
    simulated: bool = False
    schema: str = DEVICE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, what="device")
        check_name(self.device_id, what="device id")
        if self.schema != DEVICE_SCHEMA:
            raise DocumentInvalid(
                document="Device", reason=f"`schema` is {self.schema!r}, this version reads {DEVICE_SCHEMA!r}"
            )
        if not 1 <= self.port <= 65535:
            raise DocumentInvalid(document="Device", reason=f"`port` must be 1 to 65535, found {self.port}")
        if self.counter_seen < 0:
            raise DocumentInvalid(document="Device", reason=f"`counter_seen` is {self.counter_seen}")

    @property
    def address(self) -> str:
        """`pi@raspberrypi.local`, with the port where it is not 22."""
        port = "" if self.port == 22 else f":{self.port}"
        return f"{self.user}@{self.host}{port}"

    @property
    def enrolled(self) -> bool:
        """Whether it was flashed once, so that its own key is known."""
        return self.public_key is not None


def new_device_id() -> str:
    """A random id that no other board has: 16 hexadecimal digits behind `b-`."""
    return f"b-{secrets.token_hex(8)}"


class Inventory:
    """The devices of a fleet folder. Each call goes to the files; nothing is remembered in between."""

    def __init__(self, folder: FleetFolder) -> None:
        self._folder = folder.devices
        self._locks = folder.locks

    def list(self) -> tuple[Device, ...]:
        """All devices, by name.

        Raises:
            DocumentInvalid: a file is damaged; the sentence names it.
        """
        return tuple(self._read(name) for name in self.names())

    def names(self) -> tuple[str, ...]:
        """The names of all devices, sorted."""
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(p.stem for p in self._folder.glob("*.json") if not p.name.startswith(".")))

    def get(self, name: str) -> Device:
        """The device called `name`.

        Raises:
            DeviceUnknown: there is none.
            DocumentInvalid: its file is damaged.
        """
        names = self.names()
        if name not in names:
            raise DeviceUnknown(device=name, suggestion=did_you_mean(name, names))
        return self._read(name)

    def add(self, device: Device) -> None:
        """Take in a new device.

        Raises:
            DeviceExists: its name is taken.
        """
        durable.make_folder(self._folder)
        try:
            durable.write_new(self._file(device.name), encode(device) + b"\n")
        except FileExistsError as error:
            raise DeviceExists(device=device.name, address=self.get(device.name).address) from error

    def replace(self, device: Device) -> None:
        """Write a known device anew.

        Raises:
            DeviceUnknown: there is none of its name.
        """
        self._must_be_known(device.name)
        durable.write(self._file(device.name), encode(device) + b"\n")

    def update(self, name: str, change: Callable[[Device], Device]) -> Device:
        """Change what is known of a device now, whatever another command wrote since it was read.

        Raises:
            DeviceUnknown: it is not there any more.
            FleetFolderBusy: someone else is writing.
        """
        with lock(self._folder):
            changed = change(self.get(name))
            self.replace(changed)
        return changed

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Be the only command that changes this board, for as long as the context lasts.

        Raises:
            DeviceBusy: another one is at work on it.
        """
        durable.make_folder(self._locks)
        file = f"{check_name(name, what='device')}.lock"
        return lock(self._locks, wait_s=BUSY_WAIT_S, file=file, busy=DeviceBusy(device=name))

    def remove(self, name: str) -> None:
        """Forget a device.

        Raises:
            DeviceUnknown: there is none of that name.
        """
        self._must_be_known(name)
        self._file(name).unlink(missing_ok=True)
        durable.flush_folder(self._folder)

    def _must_be_known(self, name: str) -> None:
        names = self.names()
        if name not in names:
            raise DeviceUnknown(device=name, suggestion=did_you_mean(name, names))

    def _file(self, name: str) -> Path:
        return self._folder / f"{check_name(name, what='device')}.json"

    def _read(self, name: str) -> Device:
        path = self._folder / f"{name}.json"
        try:
            device = decode(Device, path.read_bytes())
        except FileNotFoundError as error:
            raise DeviceUnknown(device=name, suggestion="") from error
        except DocumentInvalid as error:
            raise DocumentInvalid(document=f"`{path}`", reason=error.facts["reason"]) from error
        if device.name != name:
            raise DocumentInvalid(document=f"`{path}`", reason=f"it describes `{device.name}`")
        return device
