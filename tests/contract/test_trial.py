from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.errors import concrete_errors
from agent.contract.messages import CheckResult
from agent.contract.release import Budgets, TrialTerms
from agent.contract.trial import (
    LEAST_LATENCY_MS,
    LEAST_MEMORY_MB,
    PROOF_PART,
    Measurement,
    agreement_floor,
    judge,
)

MANY = settings(derandomize=True, max_examples=150)
GOOD = Measurement(
    model="digits", release="digits@1", samples=64, proof_within=1.0, agreement=1.0, p50_ms=1.0, p95_ms=2.0,
    memory_mb=10.0, engine="litert", engine_version="2.3.0",
)  # fmt: skip
BEFORE = CheckResult(model="digits", release="digits@1", samples=64, passed=True, p95_ms=2.0, memory_mb=10.0)
TERMS = TrialTerms()

parts = st.none() | st.floats(0, 1)
costs = st.floats(0, 1000)
measurements = st.builds(
    lambda proof, agreement, p95, memory: replace(
        GOOD, proof_within=proof, agreement=agreement, p95_ms=p95, memory_mb=memory
    ),
    parts, parts, costs, costs,
)  # fmt: skip
limits = st.none() | st.floats(0.001, 1000)
conditions = st.fixed_dictionaries(
    {
        "floor": parts,
        "budgets": st.builds(Budgets, p95_ms=limits, memory_mb=limits),
        "replaced": st.none()
        | st.builds(lambda p95, memory: replace(BEFORE, p95_ms=p95, memory_mb=memory), limits, limits),
    }
)


def judged(measurement: Measurement, **conditions: object) -> CheckResult:
    given_ = {"floor": 0.9, "budgets": Budgets(), "replaced": None, **conditions}
    return judge(measurement, terms=TERMS, **given_)  # type: ignore[arg-type]


@MANY
@given(
    measurements, conditions, st.sampled_from(["proof_within", "agreement", "p95_ms", "memory_mb"]), st.data()
)
def test_what_is_better_never_fails_where_the_worse_passes(
    measurement: Measurement, conditions: dict[str, object], field: str, data: st.DataObject
) -> None:
    value = getattr(measurement, field)
    if value is None:
        return
    better = data.draw(st.floats(value, 1) if field in ("proof_within", "agreement") else st.floats(0, value))
    if judged(measurement, **conditions).passed:
        assert judged(replace(measurement, **{field: better}), **conditions).passed


@MANY
@given(measurements, conditions)
def test_a_verdict_says_why_with_a_code_of_the_tree(
    measurement: Measurement, conditions: dict[str, object]
) -> None:
    check = judged(measurement, **conditions)
    assert check.passed == (check.code is None) == (check.message is None)
    assert check.code is None or check.code in {kind.code for kind in concrete_errors()}


@MANY
@given(measurements, conditions)
def test_without_a_budget_nothing_is_too_slow_or_too_large(
    measurement: Measurement, conditions: dict[str, object]
) -> None:
    check = judged(measurement, **{**conditions, "budgets": Budgets(), "replaced": None})
    assert check.code not in ("trial.too-slow", "trial.too-large")
    assert check.budget_from == "none"


@pytest.mark.parametrize(
    ("measurement", "code"),
    [
        (GOOD, None),
        (replace(GOOD, proof_within=PROOF_PART), None),
        (replace(GOOD, proof_within=PROOF_PART - 0.001), "trial.golden-mismatch"),
        (replace(GOOD, proof_within=None), None),
        (replace(GOOD, agreement=0.9), None),
        (replace(GOOD, agreement=0.899), "trial.golden-disagrees"),
        (replace(GOOD, agreement=None), None),
        (replace(GOOD, p95_ms=6.0), None),
        (replace(GOOD, p95_ms=6.01), "trial.too-slow"),
        (replace(GOOD, memory_mb=20.0), None),
        (replace(GOOD, memory_mb=20.1), "trial.too-large"),
    ],
)
def test_the_edges(measurement: Measurement, code: str | None) -> None:
    assert judged(measurement, replaced=BEFORE).code == code


def test_the_releases_budget_comes_before_the_replaced_models() -> None:
    check = judged(replace(GOOD, p95_ms=50.0), replaced=BEFORE, budgets=Budgets(p95_ms=60.0))
    assert check.passed
    assert (check.budget_p95_ms, check.budget_from) == (60.0, "release")


def test_a_tiny_model_is_not_called_slow_by_its_tiny_predecessor() -> None:
    tiny = replace(BEFORE, p95_ms=0.01, memory_mb=0.1)
    check = judged(replace(GOOD, p95_ms=LEAST_LATENCY_MS, memory_mb=LEAST_MEMORY_MB), replaced=tiny)
    assert check.passed


@MANY
@given(st.floats(0, 100), st.floats(0, 100), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_floor_falls_with_the_budget_and_rises_with_the_samples(
    first: float, second: float, few: int, many: int
) -> None:
    strict, loose = sorted((first, second))
    few, many = sorted((few, many))
    assert 0.0 <= agreement_floor(loose, few) <= agreement_floor(strict, few) <= 1.0
    assert agreement_floor(strict, few) <= agreement_floor(strict, many)


def test_a_perfect_model_passes_every_floor() -> None:
    for samples in (1, 10, 1000):
        assert judged(GOOD, floor=agreement_floor(0.0, samples)).passed
