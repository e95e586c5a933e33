"""HTTP/1.1 over asyncio: httptools takes requests apart, these modules keep their order and their limits."""

from agent.serving.http.connections import Connections
from agent.serving.http.limits import Budget, Limits

__all__ = ["Budget", "Connections", "Limits"]
