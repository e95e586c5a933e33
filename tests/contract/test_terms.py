"""The terms of a trial are bounded where they are read: what is signed can't keep a board in progress for ever."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.codec import decode, encode
from agent.contract.errors import ContractError, DocumentInvalid
from agent.contract.release import LONGEST_PHASE_S, MOST_ATTEMPTS, TrialTerms

DEADLINES = ("probation_s", "check_timeout_s", "start_timeout_s")
FACTORS = ("latency_factor", "memory_factor")
anything = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([1e12, 1e308, -0.0, -1.0, 86_400.0, 86_400.1]),
    st.text(max_size=5),
)


@given(st.dictionaries(st.sampled_from([*DEADLINES, *FACTORS, "max_attempts"]), anything))
def test_terms_that_can_be_read_end_within_a_bound(plain: dict[str, Any]) -> None:
    try:
        terms = decode(TrialTerms, json.dumps(plain).encode())
    except ContractError:
        return
    whole_s = sum(getattr(terms, name) for name in DEADLINES) * terms.max_attempts
    assert 0 <= whole_s <= 3 * LONGEST_PHASE_S * MOST_ATTEMPTS
    assert all(0 < getattr(terms, name) < math.inf for name in FACTORS)
    assert decode(TrialTerms, encode(terms)) == terms


@pytest.mark.parametrize("field", [*DEADLINES, *FACTORS, "max_attempts"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, 1e12])
def test_what_is_absurd_is_refused_and_named(field: str, value: float) -> None:
    with pytest.raises(DocumentInvalid, match=f"`{field}`"):
        TrialTerms(**{field: value})  # type: ignore[arg-type]
