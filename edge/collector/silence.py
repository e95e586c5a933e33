"""How long boards have said nothing, as far as that is their doing.

The rule: silence grows only while a message could have come: this process was awake, its broker connected, and the way
to the board open. A laptop that sleeps, a cut cable here, a store that is full: none of that is a board's silence. What
is not known to be its doing is not counted, so that nobody is taken back for a closed lid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

LONGEST_TICK_S = 3.0
"""A longer time between two looks means that this process did not run in between."""


class Silence:
    """The boards' silence, looked at every second or so. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._ticked_at = now
        self._silent_s: dict[str, float] = {}
        self._heard: set[str] = set()

    def heard(self, devices: Collection[str]) -> None:
        """Messages of these boards came and are committed."""
        self._heard.update(devices)

    def tick(self, now: float, *, listening: Collection[str]) -> None:
        """Time has passed.

        Args:
            now: monotonic seconds.
            listening: boards whose messages could have come, all the way to the store; empty where the broker or the
                store can't be used.
        """
        passed = now - self._ticked_at
        self._ticked_at = now
        heard, self._heard = self._heard, set()
        for device in heard:
            self._silent_s[device] = 0.0
        if passed > LONGEST_TICK_S:
            return
        for device in listening:
            if device not in heard:
                self._silent_s[device] = self._silent_s.get(device, 0.0) + passed

    def forget(self, keep: Collection[str]) -> None:
        """Only these boards are of the fleet now."""
        self._silent_s = {device: s for device, s in self._silent_s.items() if device in keep}

    def of(self, device: str) -> float:
        """Seconds of silence."""
        return self._silent_s.get(device, 0.0)

    @property
    def all(self) -> Mapping[str, float]:
        """Of every board that was listened to."""
        return dict(self._silent_s)
