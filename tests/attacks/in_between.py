"""Somebody between laptop and board: an SSH server that lets everybody in and remembers what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from edge.fleet.host_keys import HostKey, parse_host_key


@dataclass
class InBetween:
    """What it saw.

    Attributes:
        port: where it listens. keys: its host keys, by kind.
        connections: SSH connections begun. users: who began to authenticate. passwords, commands: as they came.
        agents: where a user's agent was forwarded to.
    """

    port: int = 0
    keys: dict[str, HostKey] = field(default_factory=dict)
    connections: int = 0
    users: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)

    @property
    def key(self) -> HostKey:
        """The only one."""
        (key,) = self.keys.values()
        return key

    @property
    def was_told_nothing(self) -> bool:
        """Whether nobody even said a name."""
        return not (self.users or self.passwords or self.commands or self.agents)


class _Server(asyncssh.SSHServer):
    def __init__(self, seen: InBetween) -> None:
        self._seen = seen

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._seen.connections += 1

    def begin_auth(self, username: str) -> bool:
        self._seen.users.append(username)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._seen.passwords.append(password)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True


@contextlib.contextmanager
def in_between(*kinds: str) -> Iterator[InBetween]:
    """The server, with a new host key of each of these kinds."""
    seen = InBetween()
    private = [asyncssh.generate_private_key(kind) for kind in kinds or ("ssh-ed25519",)]
    for key in private:
        text = " ".join(key.export_public_key().decode().split()[:2])
        seen.keys[text.split()[0]] = HostKey.of(parse_host_key(text))
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=lambda: _Server(seen), server_host_keys=private,
            process_factory=lambda process: _answer(seen, process),
        )  # fmt: skip

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    seen.port = acceptor.get_port()
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(acceptor.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _answer(seen: InBetween, process: asyncssh.SSHServerProcess[str]) -> None:
    seen.commands.append(process.command or "")
    if process.channel.get_agent_path():
        seen.agents.append(process.channel.get_agent_path())
    process.exit(0)


@contextlib.contextmanager
def leads_to(ports: Sequence[int]) -> Iterator[int]:
    """A port whose first connection goes to the first of `ports`, the next to the next, and so on to the last."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            for number in range(1000):
                try:
                    near, _ = door.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", ports[min(number, len(ports) - 1)]))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()[1]


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
