"""Which of the candidates within the budget goes to the board, and what is said where none is.

The rule: smaller is never sold as faster. `size` takes the smallest, `latency` the fastest; without a wish it is the
smallest of those that take at most twice as long as the fastest, or so little longer that no request shows it and two
runs of the measurement differ by as much. Latency is the board's where it was measured there, else that of the proof
environment on this machine, and the report says which.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.contract.errors import AccuracyUndecided, AccuracyUnkept, EdgeError
from edge.conversion.request import Row

SIZE, LATENCY = "size", "latency"
SLOWEST = 2.0
"""Times the fastest's latency, up to which a smaller artifact is taken without a wish."""
UNNOTICED_MS = 0.05
"""Longer than the fastest, up to which an artifact counts as just as fast without a wish."""
NAMED_LAYERS = 5


def choose(rows: Sequence[Row], prefer: str | None) -> int | None:
    """Index of the row to take among those without a reason against them; None where there is none."""
    fit = [(index, row) for index, row in enumerate(rows) if not row.reason]
    timed = [row.latency_ms for _, row in fit if row.latency_ms is not None]
    if len(timed) == len(fit) and timed:
        if prefer == LATENCY:
            return min(fit, key=lambda item: (item[1].latency_ms or 0.0, item[1].size_bytes))[0]
        if prefer is None:
            most = max(SLOWEST * min(timed), min(timed) + UNNOTICED_MS)
            fit = [(index, row) for index, row in fit if (row.latency_ms or 0.0) <= most]
    return min(fit, key=lambda item: item[1].size_bytes)[0] if fit else None


def nearest(rows: Sequence[Row]) -> int | None:
    """Index of the row that lost least among those that run; None where none does."""
    runs = [(index, row) for index, row in enumerate(rows) if row.size_bytes]
    if not runs:
        return None
    return min(runs, key=lambda item: (_lost(item[1]), item[1].size_bytes))[0]


def unkept(profile: str, row: Row, error: EdgeError, budget_points: float) -> EdgeError:
    """Why no artifact keeps the budget: the nearest one's error, with the layers that lose most where that is known."""
    if isinstance(error, AccuracyUndecided) or not row.rungs:
        return error
    worst = [f"`{layer.name}` ({layer.sqnr_db:.1f} dB)" for layer in row.layers if layer.sqnr_db is not None]
    return AccuracyUnkept(
        profile=profile,
        recipe=row.recipe,
        max_drop=budget_points,
        reason=str(error).partition(": ")[2],
        tried=len(row.rungs),
        layers=", ".join(worst[:NAMED_LAYERS]) or "no layer could be measured alone",
    )


def _lost(row: Row) -> float:
    if row.drop is not None:
        return row.drop.drop_points
    return 100.0 * (1.0 - row.agreement) if row.agreement is not None else 100.0
