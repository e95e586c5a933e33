"""Which of the candidates within the budget goes to the board, and what is said where none is.

The rule: smaller is never sold as faster. `size` takes the smallest, `latency` the fastest; without a wish it is the
smallest of those that take at most twice as long as the fastest. Latency is the board's where it was measured there,
else that of the proof environment on this machine, and the report says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.contract.errors import AccuracyUndecided, AccuracyUnkept, EdgeError
from converters.contract import LayerLoss, Rung
from edge.conversion.request import Drop

SIZE, LATENCY = "size", "latency"
SLOWEST = 2.0
"""Times the fastest's latency, up to which a smaller artifact is taken without a wish."""
NAMED_LAYERS = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate, as the report tells it.

    Attributes:
        recipe: its name.
        verdict: see `edge.conversion.judgement`; `refused` where there is no artifact that runs.
        chosen: it is the one in the bundle.
        size_bytes: of the artifact; 0 where there is none.
        drop: accuracy against the original; None without labels.
        agreement: with the original on the golden set, 0 to 1.
        p50_ms, p95_ms, memory_mb: in the proof environment of this machine.
        board_p50_ms, board_p95_ms, board_memory_mb: on the board.
        board_peak_memory_mb, board_temperature_c: of the whole process there, and of the board's hottest zone after it.
        rungs: repairs that were tried, the recipe as it is first; empty where none was needed.
        layers: what each layer loses, where it was measured.
        reason: why it is not within its budget.
    """

    recipe: str
    verdict: str
    chosen: bool = False
    size_bytes: int = 0
    drop: Drop | None = None
    agreement: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_mb: float | None = None
    board_p50_ms: float | None = None
    board_p95_ms: float | None = None
    board_memory_mb: float | None = None
    board_peak_memory_mb: float | None = None
    board_temperature_c: float | None = None
    rungs: tuple[Rung, ...] = ()
    layers: tuple[LayerLoss, ...] = ()
    reason: str = ""

    @property
    def latency_ms(self) -> float | None:
        """On the board, else here."""
        return self.board_p50_ms if self.board_p50_ms is not None else self.p50_ms


def choose(rows: Sequence[Row], prefer: str | None) -> int | None:
    """Index of the row to take among those without a reason against them; None where there is none."""
    fit = [(index, row) for index, row in enumerate(rows) if not row.reason]
    timed = [row.latency_ms for _, row in fit if row.latency_ms is not None]
    if len(timed) == len(fit) and timed:
        if prefer == LATENCY:
            return min(fit, key=lambda item: (item[1].latency_ms or 0.0, item[1].size_bytes))[0]
        if prefer is None:
            most = SLOWEST * min(timed)
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
