"""What one window of load is to be, as the agent's own `bench` takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

ENGINE = "engine"
MQTT = "mqtt"
WAYS = ("json", "binary", "image", MQTT, ENGINE)
FEWEST_SAMPLES = 100
"""A percentile of fewer says little: a window at a low rate lasts longer."""
LONGEST_S = 60.0
DRAIN_S = 5.0
"""What the agent waits for late answers, after the warm-up and after the window."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window of load.

    Attributes:
        way: of `WAYS`.
        seconds: how long. warm_up_s: the same load before it, not counted.
        connections: at once; an open loop takes as many as it needs, at most so many.
        rate_per_s: of an open loop; None for a closed one. arrivals: `poisson` or `constant`.
    """

    way: str = "json"
    seconds: float = 3.0
    warm_up_s: float = 0.5
    connections: int = 4
    rate_per_s: float | None = None
    arrivals: str = "poisson"

    @property
    def longest_s(self) -> float:
        """How long it takes at most, without the start of the process."""
        return self.warm_up_s + self.seconds + 2 * DRAIN_S

    def arguments(self) -> list[str]:
        """For the agent's command line."""
        words = ["--way", self.way, "--seconds", f"{self.seconds:g}", "--warm-up", f"{self.warm_up_s:g}"]
        if self.way == ENGINE:
            return words
        words += ["--connections", str(self.connections)]
        if self.rate_per_s is not None:
            words += ["--rate", f"{self.rate_per_s:.6g}", "--arrivals", self.arrivals]
        return words

    def at(self, rate_per_s: float) -> Window:
        """An open loop at a rate, long enough for `FEWEST_SAMPLES`, but never above `LONGEST_S` for their sake."""
        seconds = max(self.seconds, min(LONGEST_S, FEWEST_SAMPLES / rate_per_s))
        return replace(self, rate_per_s=rate_per_s, seconds=seconds)
