"""A real server of the Open Inference Protocol in a thread, that can be made to stall once; no model is behind it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

METADATA = {
    "name": "m",
    "versions": ["7"],
    "platform": "stalling",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [],
}


class StallingServer:
    """Answers at once, but for the stall. `failing`: every so many infer requests is refused with 503; 0 for none."""

    def __init__(self, failing: int = 0) -> None:
        self.port = 0
        self._failing = failing
        self.asked = 0
        """Infer requests so far."""
        self.windows = 0
        """How often somebody asked for statistics: a load test does when its window begins."""
        self._stall_s = 0.0
        self._armed: tuple[float, float] | None = None
        self._loop = asyncio.new_event_loop()

    def stall(self, seconds: float, after_s: float) -> None:
        """Answer nobody for `seconds`, once, beginning so long after somebody asks for statistics: a load test does
        when its window begins."""
        self._armed = (seconds, after_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(self._answer(head))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"POST"):
            stall_s, self._stall_s = self._stall_s, 0.0
            time.sleep(stall_s)  # the whole server, as a stopped process
            self.asked += 1
            if self._failing and self.asked % self._failing == 0:
                return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        if b"/stats " in head:
            self.windows += 1
        if b"/stats " in head and self._armed is not None:
            seconds, after_s = self._armed
            self._armed = None
            self._loop.call_later(after_s, setattr, self, "_stall_s", seconds)
        if head.startswith(b"GET /v2/models/m HTTP"):
            body = json.dumps(METADATA).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    async def _listen(self, listening: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        self._stopped = asyncio.Event()
        await self._stopped.wait()
        server.close()

    @contextmanager
    def running(self) -> Iterator[StallingServer]:
        listening = threading.Event()
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._listen(listening),))
        thread.start()
        assert listening.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stopped.set)
            thread.join()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()
