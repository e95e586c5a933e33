"""The thread for what takes long to read: pictures, and JSON of many numbers.

The rule: one request at a time for all models, so that memory is taken for one at a time and the event loop serves
others meanwhile; how many may wait for it is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from agent.contract.errors import Overloaded
from agent.serving.messages import Response
from agent.signals import leave_signals

T = TypeVar("T")
WAITING = 64
"""Requests that may wait to be read, each with nothing but its body: as many as may then wait for a model."""
LONG_BYTES = 64 * 1024
"""Of JSON: what is shorter is read on the event loop, in less time than a small board takes for a run."""


class Apart:
    """The thread; it is started with the first request that needs it."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def read(
        self, model: str, read: Callable[[], T], go_on: Callable[[T], Response | Awaitable[Response]]
    ) -> Response:
        """Answer a request that takes long to read.

        Args:
            model: its name.
            read: is called in the thread.
            go_on: is called with what that returned, on the event loop.

        Raises:
            Overloaded: too many wait.
            EdgeError: as either raises.
        """
        if self._waiting >= WAITING:
            raise Overloaded(model=model)
        outcome = go_on(await self.do(read))
        return outcome if isinstance(outcome, Response) else await outcome

    async def do(self, work: Callable[..., T], *about: Any) -> T:
        """Have this done in the thread, however many wait."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "apart", leave_signals)
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(work, *about))
        finally:
            self._waiting -= 1
