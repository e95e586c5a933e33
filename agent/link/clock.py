"""Whether the kernel holds the board's clock for right.

The rule: asked of the kernel itself, so that it does not matter who keeps the clock (timesyncd, chrony, ntpd). Where
the kernel does not tell, the clock counts as not synchronised.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_STRUCTURE_BYTES = 256
"""More than `struct timex` has on any system; all zeroes ask and change nothing."""
_UNSYNCHRONISED = 0x40
_ERROR = 5
_STATUS_AT = 5 * ctypes.sizeof(ctypes.c_long)
"""Where `status` lies: after `modes` (padded), `offset`, `freq`, `maxerror`, `esterror`."""


def clock_synchronised() -> bool:
    """Whether something keeps the system clock right."""
    ask = _adjtimex()
    if ask is None:
        return False
    answer = ctypes.create_string_buffer(_STRUCTURE_BYTES)
    state = ask(answer)
    status = int.from_bytes(answer.raw[_STATUS_AT : _STATUS_AT + 4], "little")
    return 0 <= state < _ERROR and not status & _UNSYNCHRONISED


@cache
def _adjtimex() -> Any:
    return getattr(ctypes.CDLL(None), "adjtimex", None)
