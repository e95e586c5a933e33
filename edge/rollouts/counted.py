"""The checks that count boards: how updates ended, who is silent, who was watched for long enough.

The rule: budgets are separate. A board beyond the budget of `failed` or `silent` is evidence against the release, one
beyond that of `unreachable` is not: that one holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.rollouts.conditions import Amount, Conditions
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd, with_release
from edge.rollouts.verdict import Check, CheckVerdict

Wave = Sequence[BoardEvidence]
NAMED = 3
"""So many boards are named in a sentence."""
OUT_OF_REACH = (UpdateEnd.UNREACHABLE, UpdateEnd.VANISHED)


def failed(evidence: Evidence, conditions: Conditions) -> Check:
    """Whether more boards than allowed did not keep the release."""
    boards = _ended(evidence.wave, UpdateEnd.FAILED)
    said = f"did not keep {evidence.release}"
    return _budget("failed", CheckVerdict.FAILED, boards, evidence.wave, conditions.max_failed, said)


def silent(evidence: Evidence, conditions: Conditions) -> Check:
    """Whether more boards than allowed fell silent after the release was sent to them, however its update ended."""
    boards = [board for board in evidence.wave if _took(board) and _silent(board, conditions)]
    said = f"silent for {conditions.silence_s:g} s or longer"
    return _budget("silent", CheckVerdict.FAILED, boards, evidence.wave, conditions.max_silent, said)


def unreachable(evidence: Evidence, conditions: Conditions) -> Check:
    """Whether more boards than allowed could not be given the release, asked how it ended, or heard since it did."""
    return _budget(
        "unreachable",
        CheckVerdict.OPEN,
        _out_of_reach(evidence.wave, conditions),
        evidence.wave,
        conditions.max_unreachable,
        "could not be reached",
    )


def executed(evidence: Evidence, conditions: Conditions) -> Check:
    """Whether every update has ended, and enough boards run the release and report."""
    count = len(_running(evidence.wave, conditions))
    wanted = conditions.min_boards.at_least(len(evidence.wave))
    coming = len(_ended(evidence.wave, UpdateEnd.WAITING, UpdateEnd.PENDING))
    more = f", {coming} still to end" if coming else ""
    return Check(
        name="boards",
        verdict=CheckVerdict.OPEN if coming or count < wanted else CheckVerdict.PASSED,
        value=count,
        threshold=wanted,
        n=len(evidence.wave),
        sentence=f"{count} of {len(evidence.wave)} boards run {evidence.release} and report{more} (needed {wanted})",
    )


def requests(evidence: Evidence, conditions: Conditions) -> Check:
    """Whether the release answered enough requests."""
    windows = [window for board in evidence.wave for window in with_release(board, evidence.release)]
    count = sum(max(0, window.requests) for window in windows)
    return Check(
        name="requests",
        verdict=CheckVerdict.OPEN if count < conditions.min_requests else CheckVerdict.PASSED,
        value=count,
        threshold=conditions.min_requests,
        n=count,
        sentence=f"{evidence.release} got {count} requests (needed {conditions.min_requests})",
    )


def dwell(evidence: Evidence, conditions: Conditions) -> Check:
    """Whether each board that runs the release was watched with it for long enough, in its own seconds.

    As many boards may lack it as the budget of unreachable ones leaves: one that runs the release and can't report.
    """
    boards = _running(evidence.wave, conditions)
    watched = sorted(_watched_s(board, evidence.release) for board in boards)
    spare = conditions.max_unreachable.at_most(len(evidence.wave))
    spare -= len(_out_of_reach(evidence.wave, conditions))
    spare = min(spare, len(watched) - conditions.min_boards.at_least(len(evidence.wave)))
    counted = watched[max(0, spare) :]
    least = counted[0] if counted else 0.0
    return Check(
        name="dwell",
        verdict=CheckVerdict.OPEN if least < conditions.dwell_s else CheckVerdict.PASSED,
        value=least,
        threshold=conditions.dwell_s,
        n=len(counted),
        sentence=f"watched for {least:.1f} s with {evidence.release} (needed {conditions.dwell_s:g} s)",
    )


def empty(evidence: Evidence) -> Check:
    """That there is nothing to judge."""
    return Check(
        name="wave",
        verdict=CheckVerdict.OPEN,
        value=0,
        threshold=1,
        n=0,
        sentence=f"no board is in this wave of {evidence.release}: nothing was shown",
    )


def _budget(name: str, beyond: CheckVerdict, boards: Wave, wave: Wave, budget: Amount, said: str) -> Check:
    count, allowed = len(boards), budget.at_most(len(wave))
    more = f" and {count - NAMED} more" if count > NAMED else ""
    names = sorted(board.name or board.device for board in boards)
    who = f": {', '.join(names[:NAMED])}{more}" if names else ""
    return Check(
        name=name,
        verdict=beyond if count > allowed else CheckVerdict.PASSED,
        value=count,
        threshold=allowed,
        n=len(wave),
        sentence=f"{count} of {len(wave)} boards {said} (allowed {allowed}){who}",
    )


def _ended(wave: Wave, *ends: UpdateEnd) -> list[BoardEvidence]:
    return [board for board in wave if board.end in ends]


def _took(board: BoardEvidence) -> bool:
    return board.end not in (UpdateEnd.WAITING, UpdateEnd.UNREACHABLE)


def _silent(board: BoardEvidence, conditions: Conditions) -> bool:
    return board.silent_s is not None and board.silent_s >= conditions.silence_s


def _cut_off(board: BoardEvidence, conditions: Conditions) -> bool:
    """It confirmed the release, and nobody can hear it since: dead, or behind a network that is."""
    return board.end is UpdateEnd.CONFIRMED and board.cut_off_s >= conditions.silence_s


def _out_of_reach(wave: Wave, conditions: Conditions) -> list[BoardEvidence]:
    return [board for board in wave if board.end in OUT_OF_REACH or _cut_off(board, conditions)]


def _running(wave: Wave, conditions: Conditions) -> list[BoardEvidence]:
    return [
        board
        for board in _ended(wave, UpdateEnd.CONFIRMED)
        if not _silent(board, conditions) and not _cut_off(board, conditions)
    ]


def _watched_s(board: BoardEvidence, release: str) -> float:
    seconds = [window.seconds for window in with_release(board, release)]
    return max((one for one in seconds if math.isfinite(one)), default=0.0)
