"""What a load test found: one window of load on one model, as the board tells it to the host.

The rule: latencies are counted, every one of them, in buckets so narrow (below 0.1 % of the value) that percentiles of
several windows come from their counts put together, never from percentiles of percentiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid

SIGNIFICANT_BITS = 11
"""Of a latency in nanoseconds; what stands below them is dropped."""


def bucket(nanoseconds: int) -> int:
    """The lower border of the bucket that a latency falls into, in nanoseconds."""
    dropped = nanoseconds.bit_length() - SIGNIFICANT_BITS
    return nanoseconds >> dropped << dropped if dropped > 0 else max(nanoseconds, 0)


@dataclass(frozen=True)
class Latencies:
    """Counted latencies.

    Attributes:
        counts: lower border of a bucket in nanoseconds (as text, since JSON's keys are text) to count.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for border, count in self.counts.items():
            if (
                not (border.isdecimal() and len(border) < 20 and str(bucket(int(border))) == border)
                or count < 1
            ):
                raise DocumentInvalid(document="Latencies", reason=f"`counts` holds {count} at {border!r}")

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.counts.values())

    def quantile_ms(self, part: float) -> float | None:
        """The least latency with at least `part` (0 to 1) of all at or below it, in milliseconds; None for none."""
        curve = self.curve_ms()
        wanted = part * (1 - 1e-12)  # 0.95 of 20 is the 19th, whatever 0.95 is in binary
        return next((latency for reached, latency in curve if reached >= wanted), None)

    def mean_ms(self) -> float | None:
        """Their mean in milliseconds; None for none."""
        total = sum(int(border) * count for border, count in self.counts.items())
        return total / self.count / 1e6 if self.counts else None

    def curve_ms(self) -> list[tuple[float, float]]:
        """For each latency that occurred, in milliseconds and rising: the part (0 to 1) that is at or below it."""
        whole, seen, points = self.count, 0, []
        for border, count in sorted((int(border), count) for border, count in self.counts.items()):
            seen += count
            points.append((seen / whole, border / 1e6))
        return points


def counted(buckets: Mapping[int, int]) -> Latencies:
    """From counts by bucket, as they are kept while the load runs."""
    return Latencies({str(border): count for border, count in buckets.items()})


def joined(parts: Iterable[Latencies]) -> Latencies:
    """The latencies of several windows together."""
    whole: dict[str, int] = {}
    for part in parts:
        for border, count in part.counts.items():
            whole[border] = whole.get(border, 0) + count
    return Latencies(whole)


@dataclass(frozen=True)
class LoadReport:
    """One window of load.

    Attributes:
        model, version, engine: what answered; `engine` is the server's own word.
        way: `json`, `binary`, `image`, `mqtt` or `engine`.
        warm_up_s: load before the window that was not counted. seconds: the window, to the last answer.
        connections: at once. request_bytes: of one request, head and body.
        requests: answered well. errors: the others, by status or by what happened.
        latencies: of those answered well, and of those never answered the time that they had waited.
        generator_cpu_s: CPU time of the load generator itself within the window; 0 for the engine alone.
        rate_per_s, arrivals: of an open loop (`poisson` or `constant`); None for a closed one.
        sent: requests that were due within the window.
        late: of an open loop, how much later than due the generator came to each request; part of the latency.
        waited: requests that found all connections busy and waited for one; part of the latency, too.
        server_cpu_s: CPU time of the process that answered within the window, user and kernel, from the kernel.
        server_rss_bytes, server_pss_bytes: its memory after the window. server_peak_bytes: the most that was resident
            since it started. None, like all that follows: it can't be told.
        temperature_c_before, temperature_c: of the board's hottest zone, before the load and after it.
        throttled_before, throttled: the firmware's flags as text, before the load and after it.
        inferences, executions: samples, and runs of the engine, within the window; their ratio is the batch size.
        cut: it ended before its time, because nobody waited for it any more.
    """

    model: str
    version: str
    engine: str
    way: str
    warm_up_s: float
    seconds: float
    connections: int
    request_bytes: int
    requests: int
    errors: Mapping[str, int]
    latencies: Latencies
    generator_cpu_s: float
    sent: int
    rate_per_s: float | None = None
    arrivals: str | None = None
    late: Latencies = Latencies()
    waited: int = 0
    server_cpu_s: float | None = None
    server_rss_bytes: int | None = None
    server_pss_bytes: int | None = None
    server_peak_bytes: int | None = None
    temperature_c_before: float | None = None
    temperature_c: float | None = None
    throttled_before: str | None = None
    throttled: str | None = None
    inferences: int | None = None
    executions: int | None = None
    cut: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def requests_per_s(self) -> float:
        """Answered well, a second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def cpu_us_per_request(self) -> float | None:
        """CPU time of the server per answer, in microseconds."""
        if self.server_cpu_s is None or not self.requests:
            return None
        return self.server_cpu_s / self.requests * 1e6

    @property
    def generator_us_per_request(self) -> float | None:
        """CPU time of the generator per answer, in microseconds; None where there was none."""
        return self.generator_cpu_s / self.requests * 1e6 if self.requests and self.generator_cpu_s else None

    @property
    def batch_size(self) -> float | None:
        """Samples in a run of the engine, on average."""
        return self.inferences / self.executions if self.inferences and self.executions else None


@dataclass(frozen=True)
class LoadProbe:
    """What a board tells to whom loads it from elsewhere: what to send, and what its agent has counted so far.

    Attributes:
        model, version, engine: as in `LoadReport`.
        request: the body of a request, one sample as JSON.
        cpu_s: CPU time of the agent's process since it started, user and kernel, from the kernel.
        rss_bytes, pss_bytes, peak_bytes: its memory. None, like all that follows: it can't be told.
        temperature_c: of the board's hottest zone. throttled: the firmware's flags as text.
        inferences, executions: samples, and runs of the engine, since the agent started.
    """

    model: str
    version: str
    engine: str
    request: str
    cpu_s: float | None = None
    rss_bytes: int | None = None
    pss_bytes: int | None = None
    peak_bytes: int | None = None
    temperature_c: float | None = None
    throttled: str | None = None
    inferences: int | None = None
    executions: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
