"""Whether somebody still waits for the numbers.

The rule: a load does not outlast the one who asked for it. Its standard input is held open by them; when that ends,
because they were interrupted, or killed, or the connection to the board broke, the load ends too, and what it has
counted until then is told.
"""

from __future__ import annotations

import os
import threading

STDIN = 0
PIECE = 4096


def until_input_ends(descriptor: int = STDIN) -> threading.Event:
    """An event that is set when nobody holds the other end of this file open any more."""
    gone = threading.Event()
    threading.Thread(target=_wait, args=(descriptor, gone), name="edge-attended", daemon=True).start()
    return gone


def _wait(descriptor: int, gone: threading.Event) -> None:
    try:
        while os.read(descriptor, PIECE):
            pass
    finally:
        gone.set()
