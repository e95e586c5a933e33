"""Clients from other machines, from their connection to the end of their TLS handshake.

The rule: whoever has not shown that it speaks TLS gets little memory and little time, and of too many that wait the
oldest of the busiest address goes, so that a client from another address is let in all the same.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from typing import cast

HANDSHAKE_S = 10.0
WAITING = 32
"""Handshakes at once: each holds 256 KiB."""


class Threshold:
    """All that wait.

    Args:
        loop: that they live in. context: of TLS. protocol: makes what a client speaks with afterwards.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self.loop = loop
        self._context = context
        self._protocol = protocol
        self._waiting: dict[Arrival, None] = {}

    def new(self) -> Arrival:
        """A protocol for a client that has just connected."""
        return Arrival(self)

    async def finish(self, timeout_s: float) -> None:
        """Let handshakes under way end, then nobody waits any longer."""
        end = self.loop.time() + timeout_s
        while self._waiting and self.loop.time() < end:
            await asyncio.sleep(0.01)
        for arrival in list(self._waiting):
            arrival.abort()

    def take(self, arrival: Arrival) -> None:
        """Have it wait for its handshake, in place of another one where too many do."""
        if len(self._waiting) >= WAITING:
            busiest = Counter(each.address for each in self._waiting).most_common(1)[0][0]
            oldest = next(each for each in self._waiting if each.address == busiest)
            del self._waiting[oldest]
            oldest.abort()
        self._waiting[arrival] = None

    async def shake_hands(self, arrival: Arrival, transport: asyncio.Transport) -> None:
        """Speak TLS with it, and hand it on."""
        try:
            inner = await self.loop.start_tls(
                transport, arrival, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError:  # it speaks no TLS, or too slowly, or trusts us not: its own affair
            transport.abort()
            return
        finally:
            self._waiting.pop(arrival, None)
        if inner is None:
            return
        protocol = self._protocol()
        inner.set_protocol(protocol)
        protocol.connection_made(inner)
        if arrival.early:
            protocol.data_received(arrival.early)


class Arrival(asyncio.Protocol):
    """One that waits. `early`: what it said right after its handshake."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self.address = ""
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.address = (transport.get_extra_info("peername") or ("",))[0]
        self._threshold.take(self)
        # Not before the transport has begun to read: it does so after this call, and must stop again.
        self._threshold.loop.call_soon(self._begin)

    def data_received(self, data: bytes) -> None:
        self.early += data

    def abort(self) -> None:
        """Let it go without a word: there is no TLS yet to say one in."""
        if self._transport is not None:
            self._transport.abort()

    def _begin(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.pause_reading()
        self._task = self._threshold.loop.create_task(self._threshold.shake_hands(self, self._transport))
