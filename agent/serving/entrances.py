"""All ways in: the loopback, the socket in the board's folder, and the door for other machines.

The rule: on the board itself any program may ask, as it may everywhere else on its loopback; from other machines nobody
gets in but through the door. A swap by executing anew refuses nobody: sockets and the board's own clients are handed
over, those of the door end with an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from agent.config import BoardFolder
from agent.contract.board import BoardConfig
from agent.contract.door import DoorState, is_loopback
from agent.contract.errors import AgentConfigInvalid, AgentExposed, PortTaken
from agent.serving.accepting import stop_accepting
from agent.serving.door import Door
from agent.serving.http import Budget, Connections, Limits
from agent.serving.http.roles import Handler
from agent.serving.listening import BACKLOG, ListeningSockets, raise_descriptor_limit

LISTEN_FD = "EDGE_LISTEN_FD"
MORE_LISTEN_FDS = "EDGE_MORE_LISTEN_FDS"
CONNECTION_FDS = "EDGE_CONNECTION_FDS"
DOOR_CONNECTIONS, DOOR_ADDRESS_CONNECTIONS = 128, 32
"""Of clients from other machines at once, and of those from one of them."""


class Entrances:
    """Listens on the board; the door follows its document.

    Args:
        folder: the board's. config: as enrolment wrote it.

    Attributes:
        limits: of one client; of those from other machines fewer are let in.

    Raises:
        AgentExposed: `address` is beyond the loopback.
        PortTaken: another process has the port.
        AgentConfigInvalid: the address is none of this board's, or the port is not for this user.
    """

    def __init__(self, folder: BoardFolder, config: BoardConfig) -> None:
        if not is_loopback(config.address):
            raise AgentExposed(path=folder.config, address=config.address or "empty")
        raise_descriptor_limit()
        handed = ",".join(os.environ.pop(name, "") for name in (LISTEN_FD, MORE_LISTEN_FDS))
        self._sockets = ListeningSockets(number for number in handed.split(",") if number)
        self._loopback = _listen(self._sockets, config, folder)
        self._local = self._sockets.unix(folder.socket)
        self._folder = folder
        self._budget = Budget.of_memory(config.memory_limit_mib * 1024 * 1024)
        self.limits = Limits.within(self._budget)
        self._servers: list[asyncio.Server] = []
        self._parked: list[int] = []

    def __len__(self) -> int:
        """Clients connected."""
        return len(self._clients) + len(self._door)

    @property
    def port(self) -> int:
        """Of the loopback."""
        return int(self._loopback.getsockname()[1])

    async def open(self, handler: Handler, on_change: Callable[[DoorState | None], None]) -> None:
        """Serve whoever comes, and whom the process before this one had.

        Args:
            handler: of requests.
            on_change: is called when the door stands otherwise than before.
        """
        loop = asyncio.get_running_loop()
        self._clients = Connections(loop, handler, self.limits, self._budget)
        # A server closes its own copy of its socket; clients that come meanwhile wait in this one.
        server = await loop.create_server(self._clients.new, sock=self._loopback.dup(), backlog=BACKLOG)
        self._servers.append(server)
        if self._local is not None:
            local = await loop.create_unix_server(self._clients.new, sock=self._local.dup(), backlog=BACKLOG)
            self._servers.append(local)
        self._door = Door(
            self._folder.door,
            self._folder.mqtt_key,
            handler,
            replace(self.limits, connections=DOOR_CONNECTIONS, address_connections=DOOR_ADDRESS_CONNECTIONS),
            self._budget,
            self._sockets,
            on_change,
        )
        await self._door.start()
        self._sockets.close_rest()
        await self._take_over(loop)

    async def park(self, timeout_s: float) -> None:
        """Let answers under way be given, and read nothing more: another process goes on."""
        await self._door.close(timeout_s, again=True)
        await self._stop_accepting()
        self._parked = await self._clients.park(timeout_s)

    async def close(self, timeout_s: float) -> None:
        """Let answers under way be given, then end all connections and listen no more."""
        await self._door.close(timeout_s)
        await self._stop_accepting()
        await self._clients.close(timeout_s)
        self._loopback.close()
        if self._local is not None:
            self._local.close()
            self._folder.socket.unlink(missing_ok=True)

    def hand_over(self) -> dict[str, str]:
        """What to add to the environment of a program that this process becomes, which goes on with all that is
        parked."""
        more = [each.fileno() for each in (self._local, self._door.listening) if each is not None]
        for number in (self._loopback.fileno(), *more, *self._parked):
            os.set_inheritable(number, True)
        return {
            LISTEN_FD: str(self._loopback.fileno()),
            MORE_LISTEN_FDS: ",".join(map(str, more)),
            CONNECTION_FDS: ",".join(map(str, self._parked)),
        }

    async def _stop_accepting(self) -> None:
        for server in self._servers:
            await stop_accepting(server)
        self._servers.clear()

    async def _take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on with the clients that the process before this one (the same process, executed anew) had."""
        for number in os.environ.pop(CONNECTION_FDS, "").split(","):
            if number:
                with contextlib.suppress(OSError, ValueError):
                    client = socket.socket(fileno=int(number))
                    client.set_inheritable(False)
                    await loop.connect_accepted_socket(self._clients.new, client)


def _listen(sockets: ListeningSockets, config: BoardConfig, folder: BoardFolder) -> socket.socket:
    try:
        return sockets.tcp(config.address, config.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port=config.port, address=config.address) from error
        reason = f"can't listen on {config.address} port {config.port}: {error.strerror}"
        raise AgentConfigInvalid(path=folder.config, reason=reason) from error
