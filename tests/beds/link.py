"""The cable between laptop and board: a TCP relay that can be slowed, delayed, stalled and cut.

A relay and not the kernel's queues, since ``tc netem`` is missing from many kernels. It runs in a
thread of its own, so that a test may be synchronous, and may connect from inside a container's
network namespace, so that a container needs no address that the host can see.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tests.beds.board import BedBoard, free_port

Direction = Literal["to_board", "from_board"]

_CHUNK = 65536
_QUEUED = 512  # chunks in flight while the link delays: 32 MiB, more than a window of SSH
_CLONE_NEWNET = 0x40000000


class Link:
    """A relay from ``host:port`` to one board. All methods may be called from any thread.

    Settings hold for connections that are open and for those to come.
    """

    def __init__(self, target_port: int, *, port: int | None = None, namespace: Path | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.target = ("127.0.0.1", target_port)
        self.passed: dict[Direction, int] = {"to_board": 0, "from_board": 0}
        """Bytes handed over since the start, by direction."""
        self.connections = 0
        """Connections accepted since the start."""
        self._namespace = namespace
        self._delay = 0.0
        self._rate: float | None = None
        self._cut_at: dict[Direction, int] = {}
        self._closed = False  # the cable is unplugged: new connections are refused
        self._free_at: dict[Direction, float] = {"to_board": 0.0, "from_board": 0.0}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what a test does to the cable ----------------------------------------------------------------

    def rate(self, bytes_per_s: float | None) -> None:
        """Let no more than this through, each way; None takes the limit away."""
        self._do(lambda: setattr(self, "_rate", bytes_per_s))

    def delay_s(self, seconds: float) -> None:
        """Delay every byte by this, each way: the round trip grows by twice as much."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def cut_after(self, n_bytes: int, direction: Direction = "to_board") -> None:
        """Cut all connections once, when so many more bytes have passed. Later connections are whole."""
        self._do(lambda: self._cut_at.__setitem__(direction, self.passed[direction] + n_bytes))

    def cut_now(self) -> None:
        """Reset every connection now. New ones are welcome."""
        self._do(self._reset)

    def unplug(self) -> None:
        """Reset every connection and every new one at its start, until ``plug``."""

        def unplugged() -> None:
            self._closed = True
            self._reset()

        self._do(unplugged)

    def plug(self) -> None:
        """End ``unplug``."""
        self._do(lambda: setattr(self, "_closed", False))

    def stall(self) -> None:
        """Pass nothing, close nothing: what a dead radio or a hung board looks like, until ``resume``."""
        self._do(self._flows.clear)

    def resume(self) -> None:
        """End ``stall``; what waited is passed on."""
        self._do(self._flows.set)

    # -- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the port and begin to relay."""
        listener = socket.create_server((self.host, self.port), backlog=256)  # in the host's own namespace
        started = threading.Event()
        self._failure: BaseException | None = None

        def serve() -> None:
            try:
                if self._namespace is not None:
                    enter_network(self._namespace)  # for this thread alone
                asyncio.run(self._serve(listener, started))
            except BaseException as error:
                self._failure = error
            finally:
                listener.close()
                started.set()

        self._thread = threading.Thread(target=serve, name=f"link-{self.port}", daemon=True)
        self._thread.start()
        started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Close everything."""
        if self._thread.is_alive():
            self._do(self._done.set)
            self._thread.join(timeout=10)

    def __enter__(self) -> Link:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- inside the thread ----------------------------------------------------------------------------

    def _do(self, act: Callable[[], object]) -> None:
        """Run something in the relay's thread and wait for it."""

        async def acted() -> None:
            act()

        asyncio.run_coroutine_threadsafe(acted(), self._loop).result(timeout=10)

    async def _serve(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._connected, sock=listener, limit=_CHUNK)
        started.set()
        await self._done.wait()
        server.close()
        self._reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._closed:
                _abort(near)
                return
            try:
                far_reader, far = await asyncio.open_connection(*self.target, limit=_CHUNK)
            except OSError:
                _abort(near)
                return
            for writer in (near, far):
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._writers |= {near, far}
            try:
                await asyncio.gather(
                    self._pump(near_reader, far, "to_board"), self._pump(far_reader, near, "from_board")
                )
            except (OSError, EOFError, asyncio.CancelledError):
                pass  # only `stop` cancels; the task ends here, and asyncio's streams want it to end well
            finally:
                self._writers -= {near, far}
                _abort(near)
                _abort(far)
        finally:
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> None:
        """Relay one direction: reading goes on while earlier bytes wait for their time."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)

        async def read() -> None:
            while data := await reader.read(_CHUNK):
                await queue.put((self._loop.time() + self._delay, data))
            await queue.put((self._loop.time() + self._delay, b""))

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not data:
                    await self._flows.wait()
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                for piece in _pieces(data, self._rate):
                    await self._pace(len(piece), way)
                    await self._flows.wait()
                    await self._hand_over(piece, writer, way)

        await _both(read(), write())

    async def _pace(self, size: int, way: Direction) -> None:
        """Wait until the link, shared by all connections, has sent what came before."""
        if self._rate is None:
            return
        now = self._loop.time()
        start = max(now, self._free_at[way])
        self._free_at[way] = start + size / self._rate
        await asyncio.sleep(self._free_at[way] - now)

    async def _hand_over(self, piece: bytes, writer: asyncio.StreamWriter, way: Direction) -> None:
        """Pass bytes on, exactly up to the point of a planned cut."""
        left = self._cut_at.get(way, self.passed[way] + len(piece) + 1) - self.passed[way]
        part = piece[: max(0, left)]
        writer.write(part)
        self.passed[way] += len(part)
        if left <= len(piece):
            del self._cut_at[way]
            with contextlib.suppress(OSError):
                await writer.drain()
            self._reset()
            raise ConnectionResetError("cut")
        await writer.drain()

    def _reset(self) -> None:
        for writer in list(self._writers):
            _abort(writer)


@contextlib.contextmanager
def linked(board: BedBoard) -> Iterator[tuple[BedBoard, Link]]:
    """A board behind one more cable, which the test may slow and cut."""
    with Link(board.port) as link:
        yield replace(board, port=link.port), link


def enter_network(namespace: Path) -> None:
    """Move the calling thread into a network namespace (``os.setns`` is there from Python 3.12 only)."""
    handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
    finally:
        os.close(handle)


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _pieces(data: bytes, rate: float | None) -> Iterator[bytes]:
    """At a low rate, pieces of about 20 ms, so that a slow link trickles and does not burst."""
    step = _CHUNK if rate is None else max(256, min(_CHUNK, int(rate / 50)))
    for start in range(0, len(data), step):
        yield data[start : start + step]


async def _both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Await both; where one fails, the other must not linger."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
