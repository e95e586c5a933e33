"""A board over SSH: run a command, run a script, look at its host key, reach one of its ports.

The rule: every call ends, by itself or by its deadline; what goes wrong is an error of our own tree that names the
board; and nothing is left running when the board is closed.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import paramiko

from agent.contract.errors import (
    AuthenticationFailed,
    ConnectionLost,
    PlatformUnsupported,
    RemoteCommandFailed,
    SudoRefused,
)
from edge.config import FleetFolder
from edge.fleet import sudo as root
from edge.fleet.address import Address
from edge.fleet.forward import Forward
from edge.fleet.host_keys import HostKey
from edge.fleet.opening import Shown, open_connection, scan
from edge.fleet.session import CommandResult, Limits, converse
from edge.fleet.timeouts import Timeouts
from edge.fleet.watchdog import Watchdog
from edge.identity import SshKey
from edge.inventory import Device

RECORD = b"\x1e"
"""Begins each line that a script of ours writes; what a board's `.bashrc` writes does not begin so."""
_START = "import sys;b=sys.stdin.buffer;exec(compile(b.read(int(b.readline())),'edge','exec'))"
COMMAND_NOT_FOUND = 127


def connect(
    device: Device | Address,
    *,
    fleet: FleetFolder | None,
    password: str | None = None,
    sudo_password: str | None = None,
    timeouts: Timeouts | None = None,
) -> Board:
    """An open connection to a board whose host key is the pinned one.

    Args:
        device: of the inventory, or the address of one that is not in it yet (with the key just shown).
        fleet: its SSH key is tried first, and its `edge.toml` says how long a connection may take.
        password: of the user, for boards that have nothing else.
        sudo_password: used only where a call says `sudo=True`.
        timeouts: deadlines; those of the fleet unless given.

    Raises:
        HostUnknown, HostUnreachable, DeadlinePassed: the way there.
        HostKeyUnknown, HostKeyChanged: another host key than the pinned one; nothing was sent.
        AuthenticationFailed: the board does not let this user in.
    """
    limits = timeouts or _timeouts(fleet)
    address = _address(device)
    connection = _opened(address, fleet, password, limits)
    return Board(connection, name=address.name, sudo_password=sudo_password, timeouts=limits)


def log_in_with(device: Device, key_file: Path, *, timeouts: Timeouts) -> None:
    """See that a board lets its user in by one key, and nothing else.

    Raises:
        as `connect`.
    """
    open_connection(
        _address(device), key_files=[key_file], password=None, timeouts=timeouts, others=False
    ).close()


def scan_host_key(address: Address, *, timeouts: Timeouts | None = None) -> HostKey:
    """The key that a board shows. Nothing is authenticated.

    Raises:
        HostUnknown, HostUnreachable, DeadlinePassed: the way there.
    """
    return first_contact(address, timeouts=timeouts).key


def first_contact(address: Address, *, timeouts: Timeouts | None = None) -> Shown:
    """The key that a board shows, for a person to compare, and what the user's own known_hosts says of it.

    Raises:
        HostUnknown, HostUnreachable, DeadlinePassed: the way there.
    """
    return scan(address, timeouts or Timeouts())


class Board:
    """An open connection. A context manager.

    Attributes:
        name: how sentences call the board.
        host, port, user: where it was reached, as `~/.ssh/config` has it.
        host_key: the key that it showed, which is the pinned one.
        timeouts: of its calls.
    """

    def __init__(self, connection: Any, *, name: str, sudo_password: str | None, timeouts: Timeouts) -> None:
        self._connection = connection
        self._sudo_password = sudo_password
        self._way: root.SudoWay | None = None
        self._forwards: list[Forward] = []
        self.name = name or connection.host
        self.host: str = connection.host
        self.port: int = connection.port
        self.user: str = connection.user
        self.timeouts = timeouts
        self.host_key = HostKey.of(self.transport.get_remote_server_key())

    @property
    def is_connected(self) -> bool:
        """Whether the connection is still there, as far as it is known here."""
        transport = self._connection.client.get_transport()
        return transport is not None and bool(transport.is_active())

    @property
    def transport(self) -> paramiko.Transport:
        """Paramiko's connection.

        Raises:
            ConnectionLost: it has ended.
        """
        transport: paramiko.Transport | None = self._connection.client.get_transport()
        if transport is None or not transport.is_active():
            raise ConnectionLost(host=self.name, doing="it was in use")
        return transport

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout_s: float | None = None,
        sudo: bool = False,
        doing: str | None = None,
    ) -> CommandResult:
        """Run a program and wait for its end. A status other than 0 is no error here.

        Args:
            argv: program and arguments; quoted for the shell here.
            input: its standard input.
            timeout_s: deadline; `timeouts.command_s` unless given.
            sudo: as root.
            doing: what is going on, for sentences; the program's name unless given.

        Raises:
            DeadlinePassed, ConnectionLost: no end in time, or none at all.
            SudoRefused: root was asked for and refused.
        """
        return self.stream(
            argv,
            given=[input] if input else [],
            limits=Limits(whole_s=timeout_s or self.timeouts.command_s),
            sudo=sudo,
            doing=doing or f"running `{argv[0]}`",
        )

    def stream(
        self,
        argv: Sequence[str],
        *,
        given: Iterable[bytes] = (),
        limits: Limits,
        sudo: bool = False,
        doing: str,
        on_output: Callable[[bytes], None] | None = None,
        attended: bool = False,
    ) -> CommandResult:
        """`run` with input and output piece by piece, and with limits of its own; see `converse`."""
        if sudo:
            argv, given = self._as_root(argv, given)
        return converse(
            self.transport,
            shlex.join(argv),
            host=self.name,
            doing=doing,
            limits=limits,
            given=given,
            on_output=on_output,
            attended=attended,
        )

    def python(
        self,
        script: str,
        request: Any,
        *,
        doing: str,
        payload: Iterable[bytes] = (),
        limits: Limits | None = None,
        sudo: bool = False,
        on_record: Callable[[Any], None] | None = None,
        attended: bool = False,
    ) -> Any:
        """Run a script of ours (`edge.fleet.onboard`) with the board's own Python.

        Args:
            script: its text. It reads a line of JSON from standard input, and writes lines of JSON behind `RECORD`.
            request: JSON-ready; that line.
            doing: what is going on, for sentences.
            payload: what follows the request on its standard input.
            limits: `timeouts.command_s` in all unless given.
            sudo: as root.
            on_record: gets each record when it comes.
            attended: its standard input stays open while it runs, so that it sees when nobody waits any more. Ctrl-C
                ends that, waits until the script has cleared away, and is raised then.

        Returns:
            The last record.

        Raises:
            PlatformUnsupported: the board has no Python 3.
            RemoteCommandFailed: the script failed; its last words are in the sentence.
            DeadlinePassed, ConnectionLost, SudoRefused: as `run`.
        """
        records = _Records(on_record)
        text = script.encode()
        head = [f"{len(text)}\n".encode() + text, json.dumps(request).encode() + b"\n"]
        result = self.stream(
            ["python3", "-I", "-c", _START],
            given=chain(head, payload),
            limits=limits or Limits(whole_s=self.timeouts.command_s),
            sudo=sudo,
            doing=doing,
            on_output=records.take,
            attended=attended,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        if result.status == COMMAND_NOT_FOUND:
            raise PlatformUnsupported(
                platform=f"`{self.name}`",
                reason="it has no python3",
                way_out="install it: apt install python3",
            )
        if result.status != 0 or records.last is None:
            raise RemoteCommandFailed(
                host=self.name, doing=doing, status=result.status, output=result.last_words
            )
        return records.last

    def way_to_root(self) -> root.SudoWay:
        """How this user becomes root here; asked once. No password is tried."""
        if self._way is None:
            self._way = root.way_to_root(self.run)
        return self._way

    def forward(self, remote_port: int, *, local_port: int = 0) -> Forward:
        """A port of this machine's loopback that leads to the board's `127.0.0.1:remote_port`; a context manager.

        Raises:
            PortTaken: `local_port` is in use here.
        """
        forward = Forward(self.transport, self.name, remote_port, local_port, self.timeouts.handshake_s)
        self._forwards.append(forward)
        return forward

    def close(self) -> None:
        """End the connection and everything on it."""
        for forward in self._forwards:
            forward.close()
        with suppress(EOFError, OSError), Watchdog(5.0, lambda: _drop(self._connection)):
            self._connection.close()
            self._connection.client.close()
        gateway = self._connection.gateway
        while gateway is not None and not isinstance(gateway, (str, bool)):
            gateway.close()
            gateway = gateway.gateway

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _as_root(self, argv: Sequence[str], given: Iterable[bytes]) -> tuple[list[str], Iterable[bytes]]:
        way = self.way_to_root()
        if way is root.SudoWay.NONE:
            raise SudoRefused(host=self.name, user=self.user, reason="there is no sudo")
        if way is root.SudoWay.PASSWORD:
            if not self._sudo_checked:
                root.check_password(self.run, self._sudo_password, host=self.name, user=self.user)
                self._sudo_checked = True
            given = chain([root.line(self._sudo_password or "")], given)
        return [*root.prefix(way), *argv], given

    _sudo_checked = False


class _Records:
    """Lines of JSON among whatever else a board writes."""

    def __init__(self, on_record: Callable[[Any], None] | None) -> None:
        self.last: Any = None
        self._on_record = on_record
        self._rest = b""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for record in _found(lines):
            self.last = record
            if self._on_record is not None:
                self._on_record(record)


def _found(lines: Iterable[bytes]) -> Iterator[Any]:
    for text in lines:
        _, mark, record = text.partition(RECORD)
        if mark:
            yield json.loads(record)


def _address(device: Device | Address) -> Address:
    if isinstance(device, Address):
        return device
    return Address(
        host=device.host, user=device.user, port=device.port, host_key=device.host_key, name=device.name
    )


def _opened(address: Address, fleet: FleetFolder | None, password: str | None, timeouts: Timeouts) -> Any:
    """An open connection, by the fleet's key; while that is being replaced, a second one by the former key.

    Not both on one: paramiko asks for the service anew with each key, and not every server answers that twice.
    """
    if fleet is None:
        return open_connection(address, key_files=(), password=password, timeouts=timeouts)
    key = SshKey(fleet.keys)
    current, former = key.current, key.former
    if former is None or password is not None:
        return open_connection(address, key_files=(current,), password=password, timeouts=timeouts)
    with suppress(AuthenticationFailed):
        return open_connection(address, key_files=(current,), password=None, timeouts=timeouts, others=False)
    return open_connection(address, key_files=(former,), password=None, timeouts=timeouts)


def _timeouts(fleet: FleetFolder | None) -> Timeouts:
    return Timeouts(connect_s=fleet.config.connect_timeout_s) if fleet else Timeouts()


def _drop(connection: Any) -> None:
    transport = connection.client.get_transport()
    if transport is not None:
        transport.sock.close()
