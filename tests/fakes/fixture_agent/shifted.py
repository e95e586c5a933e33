"""The clock of a simulated board: this machine's, put off by as many seconds as the file named by `EDGE_CLOCK_FILE`
says at that moment."""

from __future__ import annotations

import os
import time as machine
from pathlib import Path


def time() -> float:
    """Seconds since 1970, as `time.time`."""
    name = os.environ.get("EDGE_CLOCK_FILE")
    return machine.time() + (float(Path(name).read_text()) if name else 0.0)
