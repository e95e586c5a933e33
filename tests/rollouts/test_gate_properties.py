"""What holds of the gate for all evidence."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.contract.sketch import Sketch
from edge.rollouts.conditions import Amount, Conditions
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd
from edge.rollouts.gate import CheckVerdict, Decision, Verdict, decide
from edge.telemetry.records import ModelWindow
from tests.rollouts.gate_evidence import CONDITIONS, canary, evidence, peer, slower

FEW = settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

counts = st.sampled_from([0, 1, 3, 40, 300, 2**63, 10**400])
seconds = st.sampled_from([0.0, 3.0, 12.0, 1e300, -1.0, float("nan"), float("inf")])
sketches = st.sampled_from(
    [
        Sketch(),
        Sketch({"3": 1}),
        Sketch({"-20": 12}),
        Sketch({"-18": 7, "-17": 6, "40": 1}),
        Sketch({str(number): 1 + number % 7 for number in range(-30, 30)}),
        Sketch({"-10": 10**400, "9": 5}),
    ]
)


def windows(*releases: str) -> st.SearchStrategy[tuple[ModelWindow, ...]]:
    one = st.builds(
        ModelWindow,
        device=st.just("d"),
        model=st.just("digits"),
        release=st.sampled_from(releases),
        seconds=seconds,
        requests=counts,
        errors=st.dictionaries(st.sampled_from(["engine.failed", "overloaded"]), counts, max_size=2),
        batches=counts,
        queue=st.just(0),
        compute_s=st.just(0.0),
        latency_ms=st.just(Sketch()),
        compute_ms=sketches,
    )
    return st.lists(one, max_size=2).map(tuple)


boards = st.builds(
    BoardEvidence,
    device=st.text("abc", min_size=1, max_size=3),
    profile=st.sampled_from(["rpi", "jetson"]),
    end=st.sampled_from(UpdateEnd),
    silent_s=st.one_of(st.none(), seconds, st.just(1000.0)),
    cut_off_s=st.one_of(seconds, st.just(1000.0)),
    now=windows("digits@3", "digits@4"),
    before=windows("digits@2", "digits@3"),
)
everything = st.builds(
    Evidence,
    release=st.just("digits@4"),
    wave=st.lists(boards, max_size=5).map(tuple),
    peers=st.lists(boards, max_size=4).map(tuple),
    waves=st.integers(0, 5),
)
amounts = st.one_of(
    st.builds(Amount, st.integers(0, 5).map(float)), st.builds(Amount, st.floats(0, 100), st.just(True))
)
conditions = st.builds(
    Conditions,
    max_failed=amounts,
    max_unreachable=amounts,
    max_silent=amounts,
    min_boards=st.integers(1, 3).map(lambda count: Amount(count)),
    min_requests=st.sampled_from([0, 50]),
    dwell_s=st.floats(0, 20),
    max_slowdown=st.floats(0.01, 10),
    max_error_increase=st.floats(0, 1),
)
# One that may well advance: boards that are like each other, with some that are not.
likely_wave = st.lists(
    st.builds(
        lambda ms, runs, failed, end, silent: replace(
            canary(ms, runs, failed=failed), end=end, silent_s=silent
        ),
        st.sampled_from([0.7, 1.0, 1.02, 1.2, 3.0]),
        st.sampled_from([0, 40, 420]),
        st.sampled_from([0, 0, 1, 30]),
        st.sampled_from(
            [UpdateEnd.CONFIRMED] * 5 + [UpdateEnd.PENDING, UpdateEnd.FAILED, UpdateEnd.UNREACHABLE]
        ),
        st.sampled_from([0.0, 0.0, 0.0, 500.0]),
    ),
    min_size=1,
    max_size=5,
)
likely_peers = st.lists(
    st.builds(peer, st.sampled_from([1.0, 1.03]), failed=st.sampled_from([0, 1])), max_size=4
)


def told(decision: Decision) -> list[tuple[object, ...]]:
    return [(check.name, check.profile, check.verdict, check.sentence) for check in decision.checks]


@FEW
@given(everything, conditions)
def test_nothing_that_boards_report_breaks_it_and_each_check_has_its_sentence(
    found: Evidence, given: Conditions
) -> None:
    decision = decide(found, given)
    assert decision.reasons
    for check in decision.checks:
        assert check.sentence
        assert "nan" not in check.sentence
        assert check.value is None or check.value == check.value


@FEW
@given(everything, conditions, st.randoms())
def test_the_order_of_boards_does_not_matter(found: Evidence, given: Conditions, random: object) -> None:
    wave, peers = list(found.wave), list(found.peers)
    random.shuffle(wave)
    random.shuffle(peers)
    other = replace(found, wave=tuple(wave), peers=tuple(peers))
    assert told(decide(other, given)) == told(decide(found, given))


@FEW
@given(everything, conditions)
def test_the_same_evidence_gives_the_same_answer(found: Evidence, given: Conditions) -> None:
    assert decide(found, given) == decide(found, given)


@FEW
@given(everything, conditions)
def test_a_wave_without_boards_always_holds(found: Evidence, given: Conditions) -> None:
    assert decide(replace(found, wave=()), given).verdict is Verdict.HOLD


@FEW
@given(likely_wave, likely_peers, conditions, st.data())
def test_more_failures_never_turn_a_rollback_into_anything_else(
    wave: list[BoardEvidence], peers: list[BoardEvidence], given: Conditions, data: st.DataObject
) -> None:
    found = evidence(*wave, peers=tuple(peers))
    worse = data.draw(st.sampled_from(range(len(wave))))
    boards = [replace(one, end=UpdateEnd.FAILED) if at == worse else one for at, one in enumerate(wave)]
    before, after = decide(found, given), decide(evidence(*boards, peers=tuple(peers)), given)
    if before.verdict is Verdict.ROLLBACK:
        assert after.verdict is Verdict.ROLLBACK


@FEW
@given(likely_wave, likely_peers, st.integers(1, 400), st.data())
def test_more_failed_requests_never_turn_a_rollback_into_an_advance(
    wave: list[BoardEvidence], peers: list[BoardEvidence], more: int, data: st.DataObject
) -> None:
    found = evidence(*wave, peers=tuple(peers))
    at = data.draw(st.sampled_from(range(len(wave))))
    window = wave[at].now[0]
    failing = replace(window, requests=window.requests + more, errors={"engine.failed": window.failed + more})
    boards = [replace(one, now=(failing,)) if number == at else one for number, one in enumerate(wave)]
    if decide(found, CONDITIONS).verdict is Verdict.ROLLBACK:
        assert decide(evidence(*boards, peers=tuple(peers)), CONDITIONS).verdict is Verdict.ROLLBACK


@FEW
@given(likely_wave, likely_peers, conditions)
def test_a_slower_release_is_never_judged_better(
    wave: list[BoardEvidence], peers: list[BoardEvidence], given: Conditions
) -> None:
    rank = [CheckVerdict.PASSED, CheckVerdict.OPEN, CheckVerdict.FAILED]
    slow = [replace(one, now=slower(one, 20).now, before=one.before) if one.now else one for one in wave]
    first = [check for check in decide(evidence(*wave, peers=tuple(peers)), given).checks]
    second = [check for check in decide(evidence(*slow, peers=tuple(peers)), given).checks]
    for one, other in zip(first, second, strict=True):
        if one.name == "slowdown" and CheckVerdict.UNJUDGED not in (one.verdict, other.verdict):
            assert rank.index(other.verdict) >= rank.index(one.verdict)


@FEW
@given(everything, conditions)
def test_unreachable_boards_never_roll_back(found: Evidence, given: Conditions) -> None:
    wave = tuple(replace(board, end=UpdateEnd.UNREACHABLE, now=()) for board in found.wave)
    assert decide(replace(found, wave=wave), given).verdict is Verdict.HOLD


@FEW
@given(likely_wave, likely_peers, conditions, st.integers(-120, 120))
def test_a_faster_or_slower_machine_changes_nothing(
    wave: list[BoardEvidence], peers: list[BoardEvidence], given: Conditions, buckets: int
) -> None:
    here = evidence(*wave, peers=tuple(peers))
    there = evidence(
        *(slower(one, buckets) for one in wave), peers=tuple(slower(one, buckets) for one in peers)
    )
    first, second = decide(here, given), decide(there, given)
    assert [check.verdict for check in first.checks] == [check.verdict for check in second.checks]


@FEW
@given(likely_wave, conditions)
def test_advance_needs_every_check(wave: list[BoardEvidence], given: Conditions) -> None:
    decision = decide(evidence(*wave), given)
    if decision.verdict is Verdict.ADVANCE:
        confirmed = [one for one in wave if one.end is UpdateEnd.CONFIRMED]
        assert confirmed
        assert not [one for one in wave if one.end is UpdateEnd.PENDING]
        verdicts = {check.verdict for check in decision.checks}
        assert verdicts <= {CheckVerdict.PASSED, CheckVerdict.UNJUDGED}


@FEW
@given(st.integers(1, 20), st.integers(0, 5))
def test_boards_that_are_the_same_always_advance(wave: int, peers: int) -> None:
    found = evidence(*[canary()] * wave, peers=(peer(),) * peers)
    assert decide(found, CONDITIONS).verdict is Verdict.ADVANCE
    assert dataclasses.astuple(decide(found, CONDITIONS))
