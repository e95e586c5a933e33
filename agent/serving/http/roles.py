"""Who a connection deals with: whoever answers its requests, and whoever keeps all connections of a door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from agent.serving.http.limits import Budget
from agent.serving.messages import Request, Response

Handler = Callable[[Request], "Response | Awaitable[Response]"]
Admit = Callable[[str, Mapping[bytes, bytes]], "Response | None"]
"""What refuses a request by its path and headers, or None."""


class Keeper(Protocol):
    """All connections of a door, as one of them sees them; see `Connections`."""

    loop: asyncio.AbstractEventLoop
    budget: Budget
    closing: bool
    parking: bool

    def add(self, connection: Any) -> bool:
        """Take it in, or say that there are too many."""
        ...

    def discard(self, connection: Any) -> None:
        """It is gone."""
        ...
