"""HTTP/1.1 over asyncio: httptools takes requests apart, these modules keep their order and their limits."""

from agent.serving.http.connections import Connections
from agent.serving.http.limits import LARGEST_BODY, Budget, Limits

__all__ = ["LARGEST_BODY", "Budget", "Connections", "Limits"]
