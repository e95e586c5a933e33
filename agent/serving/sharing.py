"""Which version answers a request that names none: the primary, or a challenger for its share.

The rule: the same request id always leads to the same version, in each start of the agent and on each board; requests
without one take turns, so that of each hundred a challenger answers exactly its share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from zlib import crc32

from agent.serving.messages import Request
from agent.serving.served import READY, Served

ID_HEADER = b"x-request-id"
STRIDE = 61
"""From turn to turn, of a hundred: it visits all of them, and never one part of them in a row."""
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,256})"')


class Sharing:
    """The requests to one name.

    Args:
        primary: answers what is left. challengers: each answers its share, in percent.
    """

    def __init__(self, primary: Served, challengers: Iterable[Served]) -> None:
        self._primary = primary
        self._ends: list[tuple[int, Served]] = []
        self._turn = 0
        end = 0
        for challenger in challengers:
            end += challenger.share
            self._ends.append((end, challenger))

    def choose(self, request: Request) -> Served:
        """Whose this request is. A challenger that can't answer leaves its share to the primary."""
        known = request_id(request)
        if known is None:
            self._turn = place = (self._turn + STRIDE) % 100
        else:
            place = crc32(known) % 100
        for end, challenger in self._ends:
            if place < end:
                return challenger if challenger.state == READY else self._primary
        return self._primary


def request_id(request: Request) -> bytes | None:
    """What the client calls the request: in the header `X-Request-Id`, or as `id` in JSON; None where it does not."""
    named = request.headers.get(ID_HEADER)
    if named:
        return named
    found = _ID.search(request.body)
    return found[1] if found is not None else None
