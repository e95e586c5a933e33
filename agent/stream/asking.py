"""What the stream asks of the rest of the agent.

The rule: a question is handed over, and its answer comes by a call from another thread; a result is handed to the link
and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

LOWEST = 3
"""The priority of what nobody waits for: whoever asks the model overtakes it."""


@dataclass(frozen=True)
class Question:
    """A `POST` of `body` to `path`; `deadline`: monotonic seconds after which nobody wants the answer any more."""

    path: str
    body: bytes
    deadline: float
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    priority: int = LOWEST


class Answer(Protocol):
    """What serving answers."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...


Ask = Callable[[Question, Callable[[Answer], None]], None]
"""Hands a question over; the answer is given to the second argument, in another thread."""
Tell = Callable[[str, bytes], bool]
"""Publishes a model's result, JSON. Whether it was taken."""
