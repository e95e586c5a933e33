"""Evidence for the gate's tests, board by board."""

from __future__ import annotations

import dataclasses

from agent.contract.sketch import Sketch, bucket, of
from edge.rollouts.conditions import Conditions
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd
from edge.telemetry.records import ModelWindow

CONDITIONS = Conditions(dwell_s=10.0)
SCATTER = [0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 1.0, 1.03, 1.05, 1.08, 1.12, 1.2, 1.35, 3.0]
"""A run's compute time, as a factor of the model's: a long tail, as real ones have."""


def times(ms: float, runs: int) -> Sketch:
    """A sketch of so many runs that take about `ms`."""
    return of(ms * SCATTER[number % len(SCATTER)] for number in range(runs))


def window(
    release: str, ms: float = 1.0, runs: int = 420, *, failed: int = 0, seconds: float = 12.0
) -> ModelWindow:
    return ModelWindow(
        device="d",
        model=release.partition("@")[0],
        release=release,
        seconds=seconds,
        requests=runs + failed,
        errors={"engine.failed": failed} if failed else {},
        batches=runs,
        queue=0,
        compute_s=0.0,
        latency_ms=Sketch(),
        compute_ms=times(ms, runs),
    )


def canary(
    ms: float = 1.0, runs: int = 420, *, before_ms: float | None = 1.0, failed: int = 0, seconds: float = 12.0
) -> BoardEvidence:
    """A board of the wave that runs `digits@4`, and ran `digits@3`."""
    return BoardEvidence(
        device="canary",
        profile="rpi",
        end=UpdateEnd.CONFIRMED,
        silent_s=0.0,
        now=(window("digits@4", ms, runs, failed=failed, seconds=seconds),),
        before=() if before_ms is None else (window("digits@3", before_ms),),
    )


def peer(
    ms: float = 1.0, runs: int = 420, *, before_ms: float | None = 1.0, failed: int = 0
) -> BoardEvidence:
    """A board that runs `digits@3` all the time."""
    return BoardEvidence(
        device="peer",
        profile="rpi",
        silent_s=0.0,
        now=(window("digits@3", ms, runs, failed=failed),),
        before=() if before_ms is None else (window("digits@3", before_ms),),
    )


def evidence(
    *wave: BoardEvidence, peers: tuple[BoardEvidence, ...] | None = None, waves: int = 2
) -> Evidence:
    peers = (peer(),) * 3 if peers is None else peers
    return Evidence(release="digits@4", wave=wave, peers=peers, waves=waves)


def slower(board: BoardEvidence, buckets: int) -> BoardEvidence:
    """The same board on a machine that is slower by so many buckets of the sketch."""
    return dataclasses.replace(
        board,
        now=tuple(_slower(one, buckets) for one in board.now),
        before=tuple(_slower(one, buckets) for one in board.before),
    )


def _slower(found: ModelWindow, buckets: int) -> ModelWindow:
    counts = {str(int(number) + buckets): count for number, count in found.compute_ms.counts.items()}
    assert all(bucket(1e-6) <= int(number) <= bucket(1e12) for number in counts)
    return dataclasses.replace(found, compute_ms=Sketch(counts))
