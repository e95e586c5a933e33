"""How a trial is judged: one function and the same numbers in convert, publish and on the board.

The rule: the floor of agreement comes from the user's accuracy budget alone; the tight check comes from the proof
run; latency and memory are judged only where the release or the replaced model gives a budget. What convert
admits unforced, a board never refuses for its answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import EdgeError, GoldenDisagrees, GoldenMismatch, TooLarge, TooSlow
from agent.contract.messages import CheckResult
from agent.contract.release import Budgets, TrialTerms

PROOF_STEPS = 2
"""Output steps by which a quantized output may differ from the proof run's; architectures are not bit-equal."""
PROOF_RELATIVE = 1e-3
"""The same for float outputs, relative to the largest magnitude of the sample's output."""
PROOF_PART = 0.99
"""Part of the output values that must be that close."""
ANSWERS_A_POINT = 5.0
"""Points of the answers that may change for each point of accuracy that may be lost; see docs/decisions/0004."""
LEAST_LATENCY_MS = 0.5
"""A model that runs below this is not called slower than the one it replaces: the measurement is coarser."""
LEAST_MEMORY_MB = 16.0
"""The same for memory."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one model did on the golden set.

    Attributes:
        model, release: which.
        samples: golden inputs that were run.
        proof_within: part of the output values close to the proof run's, 0 to 1; None without a proof run.
        agreement: with the float model, 0 to 1; None for a sanity set.
        p50_ms, p95_ms: CPU time of one batch-1 inference.
        memory_mb: what loading and running the model added to the process, in 10**6 bytes.
        engine, engine_version: what ran it.
    """

    model: str
    release: str
    samples: int
    proof_within: float | None = None
    agreement: float | None = None
    p50_ms: float
    p95_ms: float
    memory_mb: float
    engine: str
    engine_version: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def agreement_floor(max_drop_points: float, samples: int) -> float:
    """Least agreement with the float model on a golden set of `samples`, from the accuracy budget.

    Each point of accuracy that may be lost lets `ANSWERS_A_POINT` points of the answers change: most changes are
    between classes that are nearly even, and cost nothing on the whole. Beyond that rate the set may be unlucky by
    three standard deviations of a binomial count, or by two samples, whichever is more.

    Args:
        max_drop_points: the budget, in percentage points of accuracy.
        samples: how many inputs the golden set holds.

    Returns:
        0 to 1.
    """
    count = max(samples, 1)
    changed = min(1.0, ANSWERS_A_POINT * max_drop_points / 100.0)
    even = min(changed, 0.5)
    luck = max(2.0 / count, 3.0 * math.sqrt(even * (1.0 - even) / count))
    return max(0.0, 1.0 - changed - luck)


def judge(
    measurement: Measurement,
    *,
    floor: float | None,
    budgets: Budgets,
    replaced: CheckResult | None,
    terms: TrialTerms,
) -> CheckResult:
    """Judge a measurement.

    Args:
        measurement: what was measured in the trial.
        floor: least agreement with the float model, from the manifest; None for a sanity set.
        budgets: of the release.
        replaced: what the trial of the model that this one replaces measured on this board, or None.
        terms: factors for budgets that come from the replaced model.

    Returns:
        The verdict with its numbers; `passed` is False with the first code that decides.
    """
    p95_budget, p95_from = _budget(
        budgets.p95_ms, replaced.p95_ms if replaced else None, terms.latency_factor, LEAST_LATENCY_MS
    )
    memory_budget, memory_from = _budget(
        budgets.memory_mb, replaced.memory_mb if replaced else None, terms.memory_factor, LEAST_MEMORY_MB
    )
    error = _first_error(measurement, floor, (p95_budget, p95_from), (memory_budget, memory_from))
    return CheckResult(
        model=measurement.model,
        release=measurement.release,
        samples=measurement.samples,
        passed=error is None,
        proof_within=measurement.proof_within,
        agreement=measurement.agreement,
        floor=floor,
        p50_ms=measurement.p50_ms,
        p95_ms=measurement.p95_ms,
        memory_mb=measurement.memory_mb,
        budget_p95_ms=p95_budget,
        budget_memory_mb=memory_budget,
        budget_from=p95_from if p95_from != "none" else memory_from,
        code=error.code if error else None,
        message=str(error) if error else None,
    )


def _budget(
    stated: float | None, replaced: float | None, factor: float, least: float
) -> tuple[float | None, str]:
    if stated is not None:
        return stated, "release"
    if replaced is not None:
        return max(replaced * factor, least), "replaced model"
    return None, "none"


def _first_error(
    measurement: Measurement,
    floor: float | None,
    p95: tuple[float | None, str],
    memory: tuple[float | None, str],
) -> EdgeError | None:
    model = measurement.release
    if measurement.proof_within is not None and measurement.proof_within < PROOF_PART:
        return GoldenMismatch(model=model, within=measurement.proof_within, needed=PROOF_PART)
    if floor is not None and measurement.agreement is not None and measurement.agreement < floor:
        return GoldenDisagrees(model=model, agreement=measurement.agreement, floor=floor)
    if p95[0] is not None and measurement.p95_ms > p95[0]:
        return TooSlow(model=model, found_ms=measurement.p95_ms, budget_ms=p95[0], budget_from=p95[1])
    if memory[0] is not None and measurement.memory_mb > memory[0]:
        return TooLarge(
            model=model, found_mb=measurement.memory_mb, budget_mb=memory[0], budget_from=memory[1]
        )
    return None
