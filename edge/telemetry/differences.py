"""What happened between two samples: pure differences of cumulative counters.

The rule: a counter only grows within a boot, so that a difference is exact however many samples are missing in between.
What began after the first sample (a boot, a model, a release) began at zero. A counter that is smaller than before was
begun anew, and counts from zero too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.contract import sketch
from agent.contract.samples import BoardCounters, ModelCounters
from agent.contract.sketch import Sketch
from edge.telemetry.records import BoardWindow, ModelWindow

_NO_MODEL = ModelCounters(
    name="", release="", requests=0, errors={}, batches=0, queue=0, compute_s=0.0,
    latency_ms=Sketch(), compute_ms=Sketch(),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A boot's cumulative counters at one moment. `monotonic`: the board's own seconds then."""

    monotonic: float
    board: BoardCounters
    models: tuple[ModelCounters, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of one boot.

    Attributes:
        begin, end: its first and its last reading; may be the same.
        fresh: the boot began with `begin`, so that what its models counted before that is part of it.
        steps: how many numbers lie between the two.
    """

    begin: Reading
    end: Reading
    fresh: bool
    steps: int

    @property
    def seconds(self) -> float:
        """That it lasts."""
        return max(0.0, self.end.monotonic - self.begin.monotonic)


def model_windows(device: str, spans: Iterable[Span]) -> tuple[ModelWindow, ...]:
    """What each model and release of a board did in pieces of one or several boots, by name."""
    found: dict[tuple[str, str], ModelWindow] = {}
    for span in spans:
        before = {} if span.fresh else {(m.name, m.release): m for m in span.begin.models}
        for after in span.end.models:
            key = (after.name, after.release)
            window = _model_window(device, before.get(key, _NO_MODEL), after, span.seconds)
            found[key] = _together(found[key], window) if key in found else window
    return tuple(found[key] for key in sorted(found))


def board_window(spans: Iterable[Span], *, rates: bool = True) -> BoardWindow | None:
    """What the board did, in pieces in order of time; None without any. CPU is None where no time passed, or where no
    `rates` are wanted: the pieces say nothing of now."""
    seconds = cpu_s = agent_cpu_s = 0.0
    now = None
    for span in spans:
        now = span.end.board
        seconds += span.seconds
        cpu_s += _grown(span.begin.board.cpu_s, now.cpu_s)
        agent_cpu_s += _grown(span.begin.board.agent_cpu_s, now.agent_cpu_s)
    if now is None:
        return None
    told = rates and seconds > 0
    return BoardWindow(
        seconds=seconds,
        cpu_percent=100 * cpu_s / seconds if told else None,
        agent_cpu_percent=100 * agent_cpu_s / seconds if told else None,
        now=now,
    )


def _model_window(device: str, before: ModelCounters, after: ModelCounters, seconds: float) -> ModelWindow:
    if after.requests < before.requests or after.batches < before.batches:
        before = _NO_MODEL
    return ModelWindow(
        device=device,
        model=after.name,
        release=after.release,
        seconds=seconds,
        requests=after.requests - before.requests,
        errors=_counts(before.errors, after.errors),
        batches=after.batches - before.batches,
        queue=after.queue,
        compute_s=max(0.0, after.compute_s - before.compute_s),
        latency_ms=_sketch(before.latency_ms, after.latency_ms),
        compute_ms=_sketch(before.compute_ms, after.compute_ms),
    )


def _together(first: ModelWindow, second: ModelWindow) -> ModelWindow:
    errors = dict(first.errors)
    for code, count in second.errors.items():
        errors[code] = errors.get(code, 0) + count
    return dataclasses.replace(
        second,
        seconds=first.seconds + second.seconds,
        requests=first.requests + second.requests,
        errors=errors,
        batches=first.batches + second.batches,
        compute_s=first.compute_s + second.compute_s,
        latency_ms=sketch.merge(first.latency_ms, second.latency_ms),
        compute_ms=sketch.merge(first.compute_ms, second.compute_ms),
    )


def _sketch(before: Sketch, after: Sketch) -> Sketch:
    if not before.counts:
        return after
    return Sketch(_counts(before.counts, after.counts), max(0.0, after.total - before.total))


def _counts(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was added, without zeros."""
    return {key: more for key, count in after.items() if (more := count - before.get(key, 0)) > 0}


def _grown(before: float, after: float) -> float:
    return after - before if after >= before else after
