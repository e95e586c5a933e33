"""The agent's door beyond the board's loopback: as `link/door.json` says, open to TLS and tokens, or shut.

The rule: the document is from outside, and looked at again and again. What can't be carried out as it stands leaves
the door shut, with the reason, and the loopback served. Connections through it can't be handed to another process:
each ends with the answer to its next request.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.contract.codec import decode
from agent.contract.door import DoorConfig, DoorState
from agent.contract.errors import ContractError, DoorShut
from agent.own_certificate import load_own_certificate
from agent.serving.accepting import stop_accepting
from agent.serving.http import Budget, Connections, Limits
from agent.serving.http.roles import Handler
from agent.serving.listening import BACKLOG, ListeningSockets
from agent.serving.threshold import Threshold
from agent.serving.tokens import Tokens
from agent.watched_file import WatchedFile

LOOK_S = 1.0
LINGER_S = 1.0
"""For clients between two requests, to be told with the next answer that the connection ends."""
LIMIT_BYTES = 256 * 1024
LOG = logging.getLogger("agent")


class Door:
    """The door of one agent.

    Args:
        document: `link/door.json`. key: file of the board's own key.
        handler: of requests. limits: of one client. budget: of all connections. sockets: to listen on.
        on_change: is called with `state` when it has changed.

    Attributes:
        state: how it stands; None where there is no document.
        listening: the socket, while it is open.
    """

    def __init__(
        self,
        document: Path,
        key: Path,
        handler: Handler,
        limits: Limits,
        budget: Budget,
        sockets: ListeningSockets,
        on_change: Callable[[DoorState | None], None],
    ) -> None:
        self.state: DoorState | None = None
        self.listening: socket.socket | None = None
        self._file = WatchedFile(document, limit_bytes=LIMIT_BYTES)
        self._key = key
        self._handler = handler
        self._limits = limits
        self._budget = budget
        self._sockets = sockets
        self._on_change = on_change
        self._tokens = Tokens()
        self._config: DoorConfig | None = None
        self._server: asyncio.Server | None = None
        self._clients: Connections | None = None
        self._threshold: Threshold | None = None
        self._watching: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._clients) if self._clients is not None else 0

    async def start(self) -> None:
        """Open it where it is to be open, and follow the document from now on."""
        await self._look()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self, timeout_s: float, *, again: bool = False) -> None:
        """Let nobody in, and end every connection with its answer.

        Args:
            timeout_s: for answers under way.
            again: another process goes on: `listening` stays open for it, with the clients that wait in it.
        """
        if self._watching is not None:
            self._watching.cancel()
        await self._shut(timeout_s, keep=again)

    # --- following the document

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _look(self) -> None:
        if not self._file.changed() and (self.state is None or self.state.error is None):
            return
        before = self.state
        seen = ""
        try:
            data = self._file.read()
            if data is None:
                self.state, self._tokens.known = None, ()
                await self._shut(LINGER_S)
            else:
                seen = hashlib.sha256(data).hexdigest()
                config = decode(DoorConfig, data, limit_bytes=LIMIT_BYTES)
                self.state = _state(seen, config)
                await self._follow(config)
        except (OSError, ValueError, ContractError) as error:
            self._tokens.known = ()
            await self._shut(LINGER_S)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            said = DoorShut(reason=reason).to_plain()
            self.state = replace(self.state or DoorState(seen), seen=seen, error=said)
            if self.state != before:
                LOG.error("%s", said["message"])
        if self.state != before:
            self._on_change(self.state)

    async def _follow(self, config: DoorConfig) -> None:
        """Have the door stand as this says. Where only the tokens are others, nobody's connection ends."""
        self._tokens.known = config.tokens
        if self._config is not None and replace(self._config, tokens=config.tokens) == config:
            self._config = config
            return
        context = _context(config, self._key)
        await self._shut(LINGER_S)
        loop = asyncio.get_running_loop()
        self.listening = self._sockets.tcp(config.address, config.port)
        self._clients = Connections(loop, self._handler, self._limits, self._budget, admit=self._tokens)
        self._threshold = Threshold(loop, context, self._clients.new)
        self._server = await loop.create_server(
            self._threshold.new, sock=self.listening.dup(), backlog=BACKLOG
        )
        self._config = config
        LOG.info(
            "the door is open on %s port %d, with %d tokens", config.address, config.port, len(config.tokens)
        )

    async def _shut(self, timeout_s: float, *, keep: bool = False) -> None:
        self._config = None
        if self.listening is not None and not keep:
            self.listening.close()
            self.listening = None
        server, threshold, clients = self._server, self._threshold, self._clients
        self._server = self._threshold = self._clients = None
        if server is None or threshold is None or clients is None:
            return
        await stop_accepting(server)
        clients.closing = True
        await threshold.finish(LINGER_S)
        await clients.linger(LINGER_S)
        await clients.close(timeout_s)
        clients.abort()


def _state(seen: str, config: DoorConfig) -> DoorState:
    return DoorState(seen, config.address, config.port, tuple(token.name for token in config.tokens))


def _context(config: DoorConfig, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_own_certificate(context, config.certificate, key)
    return context
