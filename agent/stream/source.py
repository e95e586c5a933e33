"""Where pictures come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Picture:
    """One picture or array, as the agent's image door takes it.

    Attributes:
        body: all of the file. name: of it, or of the camera. at: when it came, nanoseconds since 1970.
    """

    body: bytes
    name: str
    at: int


class Source(Protocol):
    """What gives pictures. `skipped`: how many were overtaken by newer ones."""

    skipped: int

    def next(self, now: float) -> Picture | None:
        """The newest that was not given yet, or None.

        Args:
            now: monotonic seconds.

        Raises:
            StreamSourceFailed: nothing comes from it now.
        """
        ...

    def close(self) -> None: ...
