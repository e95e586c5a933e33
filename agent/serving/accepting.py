"""To take in no more clients, and to lose none.

The rule: a client that was accepted is served. `Server.close` of asyncio alone drops those whom it accepted in the same
turn of the loop, without a word to them.
"""

from __future__ import annotations

import asyncio

ACCEPTING_S = 0.02
"""For clients that were just accepted to become known."""


async def stop_accepting(server: asyncio.Server) -> None:
    """Accept nobody from now on; who was accepted has become known when this returns. The server is closed."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening)
    await asyncio.sleep(ACCEPTING_S)
    server.close()
