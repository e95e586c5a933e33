"""What the link asks of the rest of the agent, and what it gets: a request as HTTP would bring it, and an answer.

The rule: the two never meet in one thread. A question is handed over and forgotten; its answer comes by a call from the
thread that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Question:
    """A `POST`.

    Attributes:
        path: as in a URL. headers: names in lower case. body: all of it.
        deadline: monotonic seconds after which nobody wants the answer any more, or None.
        priority: 1 is the highest, 0 the model's own.
        id: what the asker calls it, or None.
    """

    path: str
    body: bytes
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    deadline: float | None = None
    priority: int = 0
    id: str | None = None


class Answer(Protocol):
    """What serving answers."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> bytes: ...
    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...


Ask = Callable[[Question, Callable[[Answer], None]], None]
"""Hands a question over; the answer is given to the second argument, in another thread."""
