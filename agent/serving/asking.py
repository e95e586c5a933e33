"""Requests from other threads of the agent: the link's, the streams'. They are answered on the event loop.

The rule: a request is one whatever brought it. It takes the same way as one that came over HTTP: the same routes, the
same queue, the same limits, counted in the same metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Protocol

from agent.serving.http.roles import Handler
from agent.serving.messages import Request, Response, too_large


class Question(Protocol):
    """A `POST`; see `Request`."""

    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def priority(self) -> int: ...


class Asking:
    """Answers questions of other threads.

    Args:
        loop: where they are answered. handler: by whom. body_bytes: the longest body.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Handler, body_bytes: int) -> None:
        self._loop = loop
        self._handler = handler
        self._limit = body_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, question: Question, answered: Callable[[Response], None]) -> None:
        """From any thread: have a question answered; `answered` is called on the event loop, unless the agent ends."""
        received = monotonic()
        try:
            self._loop.call_soon_threadsafe(self._begin, question, answered, received)
        except RuntimeError:
            return  # the loop has ended, and the agent with it

    def _begin(self, question: Question, answered: Callable[[Response], None], received: float) -> None:
        if len(question.body) > self._limit:
            answered(too_large(self._limit))
            return
        about = (question.path, question.headers, question.body)
        request = Request("POST", *about, True, received, question.deadline, question.priority)
        outcome = self._handler(request)
        if isinstance(outcome, Response):
            answered(outcome)
            return

        async def later() -> None:
            answered(await outcome)

        task = self._loop.create_task(later())
        self._tasks.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._tasks.discard)
