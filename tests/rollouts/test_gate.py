"""What the gate says of boards that are described one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.contract.sketch import Sketch
from edge.rollouts.conditions import Amount
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd
from edge.rollouts.gate import Check, CheckVerdict, Verdict, decide
from tests.rollouts.gate_evidence import CONDITIONS, canary, evidence, peer, window


def check_of(found: Evidence, name: str, **conditions: object) -> Check:
    decision = decide(found, replace(CONDITIONS, **conditions))
    return next(check for check in decision.checks if check.name == name)


def ended(end: UpdateEnd) -> BoardEvidence:
    return BoardEvidence(device="ended", profile="rpi", end=end, silent_s=0.0)


def test_a_release_that_is_like_its_peers_advances_after_the_dwell() -> None:
    decision = decide(evidence(canary()), CONDITIONS)
    assert decision.verdict is Verdict.ADVANCE
    assert {check.verdict for check in decision.reasons} == {CheckVerdict.PASSED}


def test_an_empty_wave_holds() -> None:
    decision = decide(evidence(), CONDITIONS)
    assert decision.verdict is Verdict.HOLD
    assert decision.reasons[0].name == "wave"


def test_a_hundred_times_slower_is_rolled_back_before_the_dwell_with_the_numbers() -> None:
    found = evidence(
        canary(5.1, 30, before_ms=0.05, seconds=1.0), peers=(peer(0.05, 30, before_ms=0.05),) * 3
    )
    decision = decide(found, CONDITIONS)
    assert decision.verdict is Verdict.ROLLBACK
    (reason,) = decision.reasons
    assert reason.name == "slowdown"
    assert reason.value == pytest.approx(102, rel=0.02)
    assert reason.threshold == 1.15
    assert reason.n == 30
    assert "digits@4 takes 5.1 ms CPU a run, its peers on digits@3 0.05 ms: 101 times" in reason.sentence
    assert reason.sentence.endswith("less what the boards differed by before (allowed 1.15)")


@pytest.mark.parametrize("boards", [1, 3, 30])
def test_a_fifth_slower_is_found_with_one_canary_and_a_few_peers(boards: int) -> None:
    found = evidence(canary(1.22), peers=(peer(),) * boards)
    assert decide(found, CONDITIONS).verdict is Verdict.ROLLBACK


def test_what_slows_all_boards_together_is_nobodys_fault() -> None:
    found = evidence(canary(1.6), peers=(peer(1.6),) * 3)
    assert decide(found, CONDITIONS).verdict is Verdict.ADVANCE


def test_a_board_that_was_always_slower_is_compared_with_itself_first() -> None:
    found = evidence(canary(1.4, before_ms=1.4))
    assert decide(found, CONDITIONS).verdict is Verdict.ADVANCE


def test_a_board_that_was_always_faster_does_not_hide_what_the_release_costs() -> None:
    found = evidence(canary(1.0, before_ms=0.7))
    assert check_of(found, "slowdown").verdict is CheckVerdict.FAILED


def test_a_larger_limit_lets_a_larger_model_pass_and_stops_a_still_larger_one() -> None:
    assert check_of(evidence(canary(2.8)), "slowdown", max_slowdown=3.0).verdict is CheckVerdict.PASSED
    assert check_of(evidence(canary(3.6)), "slowdown", max_slowdown=3.0).verdict is CheckVerdict.FAILED


def test_one_odd_peer_hides_nothing() -> None:
    found = evidence(canary(1.4), peers=(peer(), peer(), peer(9.0)))
    assert decide(found, CONDITIONS).verdict is Verdict.ROLLBACK


def test_a_minority_of_boards_on_which_it_is_slow_is_not_outvoted() -> None:
    found = evidence(*[canary()] * 4, *[canary(5.0)] * 2)
    assert decide(found, CONDITIONS).verdict is Verdict.ROLLBACK


def test_what_was_tried_and_taken_back_just_before_is_not_what_a_board_is_compared_with() -> None:
    tried = window("digits@2", 5.0, 420, failed=60)
    after = replace(canary(1.3, failed=60), before=(tried, *canary().before))
    slowdown, errors = (check_of(evidence(after), name) for name in ("slowdown", "errors"))
    assert slowdown.verdict is CheckVerdict.FAILED
    assert slowdown.value == pytest.approx(1.3, rel=0.03)
    assert errors.verdict is CheckVerdict.FAILED


def test_a_peer_that_changed_its_release_meanwhile_is_no_peer() -> None:
    changed = replace(peer(), now=(window("digits@3", 0.2, 200), window("digits@2", 0.2, 200)))
    assert "the same boards before" in check_of(evidence(canary(), peers=(changed,)), "slowdown").sentence


def test_without_peers_the_board_is_compared_with_itself_and_the_sentence_says_so() -> None:
    like_before = check_of(evidence(canary(1.1), peers=()), "slowdown")
    assert like_before.verdict is CheckVerdict.PASSED
    assert "the same boards before, on digits@3" in like_before.sentence
    somewhat_slower = check_of(evidence(canary(1.3), peers=()), "slowdown")
    assert somewhat_slower.verdict is CheckVerdict.UNJUDGED
    assert "no peer is left to tell the release from the load" in somewhat_slower.sentence
    assert check_of(evidence(canary(5.0), peers=()), "slowdown").verdict is CheckVerdict.FAILED


def test_the_last_wave_advances_where_nothing_can_be_compared() -> None:
    decision = decide(evidence(canary(before_ms=None), peers=()), CONDITIONS)
    assert decision.verdict is Verdict.ADVANCE
    assert [check.verdict for check in decision.checks if check.name == "slowdown"] == [CheckVerdict.UNJUDGED]


def test_peers_of_another_kind_are_no_peers() -> None:
    others = tuple(replace(peer(0.2), profile="jetson") for _ in range(3))
    found = check_of(evidence(canary(), peers=others), "slowdown")
    assert "the same boards before" in found.sentence


def test_each_kind_of_board_has_its_own_check() -> None:
    slow = replace(canary(4.0), profile="jetson")
    found = evidence(canary(), slow, peers=(peer(), peer(), replace(peer(), profile="jetson")))
    verdicts = {check.profile: check.verdict for check in decide(found, CONDITIONS).checks if check.profile}
    assert verdicts == {"rpi": CheckVerdict.PASSED, "jetson": CheckVerdict.FAILED}


def test_peers_that_run_another_model_are_not_compared_with() -> None:
    other = replace(peer(), now=(window("faces@1", 0.01),), before=())
    found = check_of(evidence(canary(before_ms=None), peers=(other,)), "slowdown")
    assert found.verdict is CheckVerdict.UNJUDGED


def test_between_passed_and_failed_it_holds_and_says_how_many_runs_are_missing() -> None:
    found = evidence(canary(1.16, 40), peers=(peer(1.0, 40),) * 3)
    slowdown = check_of(found, "slowdown")
    assert slowdown.verdict is CheckVerdict.OPEN
    assert "more runs would tell" in slowdown.sentence
    assert decide(found, CONDITIONS).verdict is Verdict.HOLD


def test_boards_that_differ_for_good_and_have_no_past_are_left_to_a_person() -> None:
    found = evidence(canary(1.3, 40_000, before_ms=None), peers=(peer(1.0, 40_000, before_ms=None),) * 2)
    slowdown = check_of(found, "slowdown")
    assert slowdown.verdict is CheckVerdict.OPEN
    assert "more boards would tell" in slowdown.sentence


def test_too_few_runs_hold_unless_no_requests_are_asked_for() -> None:
    found = evidence(canary(9.0, 5), peers=(peer(1.0, 5),))
    assert check_of(found, "slowdown").verdict is CheckVerdict.OPEN
    assert decide(found, replace(CONDITIONS, min_requests=0)).verdict is Verdict.ADVANCE


@pytest.mark.parametrize(
    ("failed", "verdict"), [(0, Verdict.ADVANCE), (2, Verdict.ADVANCE), (12, Verdict.ROLLBACK)]
)
def test_requests_that_fail_more_often_than_those_of_peers_roll_back(failed: int, verdict: Verdict) -> None:
    found = evidence(canary(failed=failed), peers=(peer(failed=1),) * 3)
    assert decide(found, CONDITIONS).verdict is verdict


def test_errors_that_could_be_chance_hold() -> None:
    errors = check_of(evidence(canary(failed=3), peers=(peer(),) * 3), "errors")
    assert errors.verdict is CheckVerdict.OPEN
    said = "errors of digits@4 in 3 of 423 requests (0.71 %), of its peers in 0 of 1260 requests (0 %): +0.71 points"
    assert errors.sentence == f"{said} (allowed +0.5); too few to be sure"


def test_a_board_whose_requests_always_failed_says_nothing_against_the_release() -> None:
    always = replace(canary(failed=40), before=(window("digits@3", failed=40),))
    assert check_of(evidence(always), "errors").verdict is CheckVerdict.PASSED


def test_errors_of_a_model_that_nobody_ran_before_are_judged_by_themselves() -> None:
    alone = evidence(canary(failed=40, before_ms=None), peers=())
    errors = check_of(alone, "errors")
    assert errors.verdict is CheckVerdict.FAILED
    assert "nothing to compare with" in errors.sentence


def test_a_failed_board_beyond_the_budget_rolls_back_at_once() -> None:
    found = evidence(ended(UpdateEnd.FAILED), ended(UpdateEnd.WAITING), ended(UpdateEnd.WAITING))
    assert decide(found, CONDITIONS).verdict is Verdict.ROLLBACK
    within = replace(CONDITIONS, max_failed=Amount(1))
    assert decide(found, within).verdict is Verdict.HOLD


def test_a_percentage_is_one_of_the_wave() -> None:
    found = evidence(ended(UpdateEnd.FAILED), *[canary()] * 9)
    assert check_of(found, "failed", max_failed=Amount(10, True)).verdict is CheckVerdict.PASSED
    assert check_of(found, "failed", max_failed=Amount(9, True)).verdict is CheckVerdict.FAILED


@pytest.mark.parametrize("end", [UpdateEnd.UNREACHABLE, UpdateEnd.VANISHED])
def test_unreachable_boards_beyond_their_budget_hold(end: UpdateEnd) -> None:
    found = evidence(canary(), ended(end))
    assert decide(found, CONDITIONS).verdict is Verdict.HOLD
    assert decide(found, replace(CONDITIONS, max_unreachable=Amount(1))).verdict is Verdict.ADVANCE


def test_a_board_that_died_after_it_confirmed_counts_as_unreachable_from_its_deadline_on() -> None:
    dead = replace(canary(), name="pi-2", cut_off_s=120.0, now=())
    found = evidence(canary(), dead)
    decision = decide(found, CONDITIONS)
    assert decision.verdict is Verdict.HOLD, "it says nothing against the release"
    assert "1 of 2 boards could not be reached (allowed 0): pi-2" in [
        one.sentence for one in decision.reasons
    ]
    assert check_of(found, "boards", min_boards=Amount(2)).verdict is CheckVerdict.OPEN
    assert decide(found, replace(CONDITIONS, max_unreachable=Amount(1))).verdict is Verdict.ADVANCE
    early = replace(dead, cut_off_s=119.0)
    assert check_of(evidence(canary(), early), "unreachable").verdict is CheckVerdict.PASSED


@pytest.mark.parametrize(
    "end", [UpdateEnd.PENDING, UpdateEnd.CONFIRMED, UpdateEnd.FAILED, UpdateEnd.VANISHED]
)
def test_silence_counts_from_its_deadline_on(end: UpdateEnd) -> None:
    quiet = replace(ended(end), silent_s=119.0)
    assert check_of(evidence(quiet), "silent").verdict is CheckVerdict.PASSED
    silent = replace(quiet, silent_s=120.0)
    assert check_of(evidence(silent), "silent").verdict is CheckVerdict.FAILED


@pytest.mark.parametrize("end", [UpdateEnd.WAITING, UpdateEnd.UNREACHABLE])
def test_silence_of_a_board_that_never_got_the_release_says_nothing(end: UpdateEnd) -> None:
    silent = replace(ended(end), silent_s=9999.0)
    assert check_of(evidence(silent), "silent").verdict is CheckVerdict.PASSED


def test_boards_that_count_against_the_release_are_named() -> None:
    silent = [replace(ended(UpdateEnd.CONFIRMED), name=f"pi-{number}", silent_s=120.0) for number in range(5)]
    said = "boards silent for 120 s or longer (allowed 0)"
    assert check_of(evidence(silent[0]), "silent").sentence == f"1 of 1 {said}: pi-0"
    assert check_of(evidence(*silent), "silent").sentence == f"5 of 5 {said}: pi-0, pi-1, pi-2 and 2 more"


def test_before_the_dwell_it_holds_and_says_what_is_missing() -> None:
    decision = decide(evidence(canary(seconds=4.0)), CONDITIONS)
    assert decision.verdict is Verdict.HOLD
    assert decision.reasons[0].sentence == "watched for 4.0 s with digits@4 (needed 10 s)"


def test_a_confirmed_board_that_cant_report_is_waited_for_unless_the_budget_spares_it() -> None:
    cut = replace(canary(), now=())
    found = evidence(canary(), cut)
    assert decide(found, CONDITIONS).verdict is Verdict.HOLD
    assert decide(found, replace(CONDITIONS, max_unreachable=Amount(1))).verdict is Verdict.ADVANCE


def test_what_a_board_did_before_it_took_the_release_back_still_counts() -> None:
    slow = replace(canary(5.0), end=UpdateEnd.FAILED)
    found = evidence(slow, peers=(peer(),) * 3)
    assert check_of(found, "slowdown", max_failed=Amount(1)).verdict is CheckVerdict.FAILED


def test_checks_against_the_release_come_first() -> None:
    names = [check.name for check in decide(evidence(canary()), CONDITIONS).checks]
    assert names == ["failed", "silent", "errors", "slowdown", "unreachable", "boards", "requests", "dwell"]


def test_a_sketch_that_holds_more_than_any_float_breaks_nothing() -> None:
    huge = replace(
        window("digits@4"), compute_ms=Sketch({"1": 10**400}), requests=10**400, seconds=float("nan")
    )
    board = replace(canary(), now=(huge,), silent_s=float("nan"))
    decision = decide(evidence(board), CONDITIONS)
    assert decision.verdict is Verdict.HOLD
