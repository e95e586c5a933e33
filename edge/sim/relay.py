"""The cable of a simulated board: passes bytes on, and can be slow, cut or unplugged."""

from __future__ import annotations

import asyncio
import contextlib
import socket

CHUNK_BYTES = 64 * 1024


class Relay:
    """From a port that anybody may use to the one of a server behind it: a board's SSH server, or a broker.

    Attributes:
        inner_port: of that server, for connections that come from now on.
        rate: bytes a second, each way and for all connections together; None for no limit.
    """

    def __init__(self, port: int, inner_port: int) -> None:
        self.port = port
        self.rate: float | None = None
        self.inner_port = inner_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._free_at = [0.0, 0.0]

    async def plug(self) -> None:
        """Listen; nothing happens when it does so already."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    def unplug(self) -> None:
        """Listen no more, and cut what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every open connection. New ones are welcome."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        ends = {near_out}
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self.inner_port)
            ends.add(far_out)
            for end in ends:
                end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._writers |= ends
            await asyncio.gather(self._pump(near_in, far_out, 0), self._pump(far_in, near_out, 1))
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # nobody listens, one side broke, or this process ends: both ends are ended below
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: int) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(CHUNK_BYTES if self.rate is None else 2048):
            if self.rate is not None:
                self._free_at[way] = max(self._free_at[way], loop.time()) + len(data) / self.rate
                await asyncio.sleep(self._free_at[way] - loop.time())
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()
