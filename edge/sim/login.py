"""The SSH server of a simulated board: keys, passwords, commands, files and forwarded ports, as sshd gives them.

The rule: a command is a real process of a real `/bin/sh` in the board's home folder with the board's environment,
and lives on when the connection ends, unless it minds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
from typing import Any

import asyncssh

from edge.sim.plan import Plan

CHUNK_BYTES = 64 * 1024
LEFT_OPEN_S = 2.0
"""So long output is waited for when the command has ended and something it started still holds its streams."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Login(asyncssh.SSHServer):
    """Who may log in to a board, and which ports are forwarded."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if self._connection is not None:
            self._connection.send_auth_banner(
                f"{self._plan.name}: {self._plan.model}. Processes of this machine, no hardware.\n"
            )
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._plan.user and key.public_data in self._authorized()

    def password_auth_supported(self) -> bool:
        return self._plan.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        right = self._plan.password
        if right is None or username != self._plan.user:
            return False
        return hmac.compare_digest(password.encode(), right.encode())

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return dest_host in LOOPBACK

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return listen_host in ("", *LOOPBACK)

    def _authorized(self) -> list[bytes]:
        try:
            lines = (self._plan.home / ".ssh" / "authorized_keys").read_text().splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(asyncssh.KeyImportError):
                found.append(asyncssh.import_public_key(line).public_data)
        return found


class Files(asyncssh.SFTPServer):
    """Files of the board's user; a relative path begins in the home folder."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], plan: Plan) -> None:
        super().__init__(chan)
        self._home = os.fsencode(plan.home)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)  # noqa: PTH118 - paths here are bytes


async def serve(plan: Plan) -> asyncssh.SSHAcceptor:
    """Start the board's SSH server on a port of its own."""
    return await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: Login(plan),
        server_host_keys=[str(plan.host_key_file)],
        process_factory=lambda process: run(plan, process),
        sftp_factory=lambda chan: Files(chan, plan),
        encoding=None,
        server_version="edge_simulated_board",
        login_timeout=60,
    )


async def run(plan: Plan, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """One session: a command, or a shell without a terminal."""
    if process.subsystem is not None:
        process.exit(1)
        return
    command = ["-c", process.command] if process.command is not None else []
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=plan.home,
        env=plan.environment(),
        start_new_session=True,
        limit=4 * CHUNK_BYTES,
    )
    feeding = asyncio.create_task(_feed(process, child))
    hearing = [
        asyncio.create_task(_hear(child.stdout, process.stdout)),
        asyncio.create_task(_hear(child.stderr, process.stderr)),
    ]
    try:
        status = await child.wait()
        await asyncio.wait(hearing, timeout=LEFT_OPEN_S)
        if status >= 0:
            process.exit(status)
        else:
            process.exit_with_signal("KILL")
    finally:
        for task in (feeding, *hearing):
            task.cancel()
        await asyncio.gather(feeding, *hearing, return_exceptions=True)
        if child.stdin is not None:
            child.stdin.close()


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """What the client writes, to the command; its end ends the command's input."""
    sink = child.stdin
    assert sink is not None
    try:
        while data := await process.stdin.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
    except (OSError, asyncssh.Error, asyncssh.BreakReceived, asyncssh.SignalReceived):
        pass  # the command or the client is gone: either way there is nothing more to hand over
    finally:
        sink.close()


async def _hear(source: asyncio.StreamReader | None, sink: Any) -> None:
    """What the command writes, to the client; where that is gone, the command writes into a broken pipe."""
    assert source is not None
    try:
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
    except (OSError, asyncssh.Error):
        source._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way to close a read end
