"""The gate of a rollout: from stored numbers to Advance, Hold or Rollback.

The rules:

* A pure function: the same evidence, the same decision; no clock, no memory, and no order of boards.
* Rollback needs evidence, Advance needs every check. What is not known yet is Hold, and the sentence says what is
  missing; an empty wave is Hold.
* A board that could not be reached says nothing about the release: it holds, and never counts as failed. Silence counts
  from its deadline on, in seconds in which the collector would have heard it (`LinkState.silent_s`).
* A release is judged by the CPU time of its engine, not by how long answers took, and against boards of the same
  profile at the same time. Each profile has a bundle of its own, and so its own checks.
* What boards did under the release counts however their update ended: a board that took it back does not take its
  numbers along.
* The chance that boards which are equal are ever halted, over all waves, looks, kinds of board and checks, is at most
  `FALSE_ALARMS`: it is divided among them (Bonferroni), and each may be looked at as often as one likes
  (`edge.rollouts.certainty`). `benchmarks/gate.py` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edge.rollouts import behaviour, counted
from edge.rollouts.behaviour import Kind
from edge.rollouts.conditions import Conditions
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd, with_release
from edge.rollouts.verdict import Check, CheckVerdict, Decision, Verdict

__all__ = ["Check", "CheckVerdict", "Decision", "Verdict", "decide"]

FALSE_ALARMS = 0.01
"""Allowed in a whole rollout."""
_CHECKS_OF_A_KIND = 2


def decide(evidence: Evidence, conditions: Conditions) -> Decision:
    """What to do, with every check, those against the release first.

    Raises:
        NameInvalid: `evidence.release` is no release. Nothing else that evidence holds raises.
    """
    if not evidence.wave:
        return Decision(checks=(counted.empty(evidence),))
    kinds = list(_kinds(evidence))
    return Decision(
        checks=(
            counted.failed(evidence, conditions),
            counted.silent(evidence, conditions),
            *(behaviour.errors(kind, conditions) for kind in kinds),
            *(behaviour.compute_time(kind, conditions) for kind in kinds),
            counted.unreachable(evidence, conditions),
            counted.executed(evidence, conditions),
            counted.requests(evidence, conditions),
            counted.dwell(evidence, conditions),
        )
    )


def _kinds(evidence: Evidence) -> Iterator[Kind]:
    """The profiles of boards that ran the release."""
    profiles = sorted({board.profile for board in evidence.wave})
    share = FALSE_ALARMS / (max(1, evidence.waves) * len(profiles) * _CHECKS_OF_A_KIND)
    for profile in profiles:
        wave = [board for board in evidence.wave if board.profile == profile]
        if any(_ran(board, evidence.release) for board in wave):
            yield Kind(
                profile=profile,
                release=evidence.release,
                wave=wave,
                peers=[board for board in evidence.peers if board.profile == profile],
                sure=-math.log(share),
            )


def _ran(board: BoardEvidence, release: str) -> bool:
    return board.end is UpdateEnd.CONFIRMED or bool(with_release(board, release))
