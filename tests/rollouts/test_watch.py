"""What the gate is told of boards: from the store, over one span; what can't be read is nothing known."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import FleetFolder
from edge.rollouts.conditions import read_conditions
from edge.rollouts.entries import Entry
from edge.rollouts.evidence import UpdateEnd
from edge.rollouts.fold import Rollout, fold
from edge.rollouts.gate import Verdict, decide
from edge.rollouts.state import RolloutEvent
from edge.rollouts.watch import Watch
from tests.rollouts.paper import plan_of

PLAN = plan_of(("a",), ("b",))


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    return FleetFolder.create(tmp_path / "f", "f")


def rollout(*events: RolloutEvent) -> Rollout:
    entries = [Entry(number=1, previous="", at=1.0, event=RolloutEvent.PLAN, plan=PLAN)]
    for event in (RolloutEvent.BEGIN, *events):
        device = "a" if event in (RolloutEvent.UNCHANGED, RolloutEvent.UNREACHED) else None
        mark = 0 if event is RolloutEvent.SETTLE else None
        entries.append(
            Entry(number=len(entries) + 1, previous="", at=1.0, event=event, device=device, mark=mark)
        )
    return fold(entries)


def test_without_a_store_nothing_is_known_and_the_gate_holds(fleet: FleetFolder) -> None:
    watch = Watch(fleet)
    assert (watch.mark(), watch.span_before(60.0), watch.report("id-a")) == (0, (), None)
    evidence = watch.evidence(rollout(RolloutEvent.UNCHANGED, RolloutEvent.SETTLE))
    assert [board.end for board in evidence.wave] == [UpdateEnd.CONFIRMED]
    assert [board.device for board in evidence.peers] == ["id-b"]
    assert decide(evidence, read_conditions({})).verdict is Verdict.HOLD


def test_a_torn_store_holds_too(fleet: FleetFolder) -> None:
    fleet.store.parent.mkdir()
    fleet.store.write_bytes(b"SQLite format 3\0" + b"torn" * 400)
    watch = Watch(fleet)
    assert (watch.mark(), watch.span_before(60.0), watch.report("id-a")) == (None, (), None)
    evidence = watch.evidence(rollout(RolloutEvent.UNCHANGED))
    assert evidence.wave[0].silent_s is None
    assert decide(evidence, read_conditions({})).verdict is Verdict.HOLD


def test_a_board_out_of_reach_is_told_as_such(fleet: FleetFolder) -> None:
    evidence = Watch(fleet).evidence(rollout(RolloutEvent.UNREACHED))
    assert evidence.wave[0].end is UpdateEnd.UNREACHABLE
