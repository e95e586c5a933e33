"""How much memory a model may have, and how it comes back. Standard library only.

The rule: what is not known is not guessed to be little: where the kernel does not tell what is left, the agent's own
limit decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Room:
    """Memory now, in bytes: what the agent uses and may use, and what the board has left (None: it can't tell)."""

    used_bytes: int
    limit_bytes: int
    available_bytes: int | None

    @property
    def free_bytes(self) -> int:
        """For models that are loaded now."""
        own = max(0, self.limit_bytes - self.used_bytes)
        return own if self.available_bytes is None else min(own, self.available_bytes)


def available_bytes() -> int | None:
    """What the board can give to programs without swapping, or None where the kernel does not tell."""
    try:
        text = MEMINFO.read_bytes()
    except OSError:
        return None
    at = text.find(b"MemAvailable:")
    return int(text[at:].split(None, 2)[1]) * 1024 if at >= 0 else None


def give_back() -> None:
    """Have the C library give freed memory back to the system, which by itself it keeps for later."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    """glibc's; other C libraries have none and keep less."""
    import ctypes

    return getattr(ctypes.CDLL(None), "malloc_trim", None)
