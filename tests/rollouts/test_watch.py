"""What the gate is told of boards: from the store, over one span; what can't be read is nothing known."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge.config import FleetFolder
from edge.rollouts.awake import LONGEST_S
from edge.rollouts.conditions import read_conditions
from edge.rollouts.entries import Asked, Entry
from edge.rollouts.evidence import BoardEvidence, UpdateEnd
from edge.rollouts.fold import Rollout, fold
from edge.rollouts.gate import Verdict, decide
from edge.rollouts.state import BOARD_EVENTS, RolloutEvent
from edge.rollouts.watch import Watch
from edge.telemetry.records import LinkState
from edge.telemetry.store import Store
from tests.rollouts.paper import NEW, generation, plan_of

PLAN = plan_of(("a",), ("b",))


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    return FleetFolder.create(tmp_path / "f", "f")


def rollout(*events: RolloutEvent) -> Rollout:
    entries = [Entry(number=1, previous="", at=1.0, event=RolloutEvent.PLAN, plan=PLAN)]
    for event in (RolloutEvent.BEGIN, *events):
        device = "a" if event in BOARD_EVENTS else None
        asked = Asked(counter=2, nonce="00", content=generation(2, NEW)) if device else None
        mark = 0 if event is RolloutEvent.SETTLE else None
        entries.append(
            Entry(
                number=len(entries) + 1,
                previous="",
                at=1.0,
                event=event,
                device=device,
                mark=mark,
                asked=asked,
            )
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


class Known:
    """A board that is asked, and how long the collector says that it has been silent."""

    def __init__(self, fleet: FleetFolder) -> None:
        self.watch = Watch(fleet)
        fleet.store.parent.mkdir()
        self._store = Store.open(fleet.store, writer=True)

    def silent_s(self, rollout: Rollout, silent_s: float, *, tunnel: str = "up") -> BoardEvidence:
        link = LinkState(tunnel=tunnel, reason=None, silent_s=silent_s, backlog=False)
        self._store.write_links({"id-a": link})
        return self.watch.evidence(rollout).wave[0]


def test_a_board_that_was_asked_and_vanished_halts_by_its_silence(fleet: FleetFolder) -> None:
    known = Known(fleet)
    vanished = rollout(RolloutEvent.ASKED, RolloutEvent.UNREACHED)
    known.silent_s(rollout(), 0.0)
    board = known.silent_s(vanished, 130.0)
    assert (board.end, board.silent_s) == (UpdateEnd.VANISHED, 130.0)
    assert decide(known.watch.evidence(vanished), read_conditions({})).verdict is Verdict.ROLLBACK


def test_silence_from_before_a_board_was_asked_blames_no_release(fleet: FleetFolder) -> None:
    known = Known(fleet)
    assert known.silent_s(rollout(), 500.0).end is UpdateEnd.WAITING
    asked = rollout(RolloutEvent.ASKED)
    assert known.silent_s(asked, 530.0).silent_s == 30.0
    assert known.silent_s(asked, 2.0).silent_s == 2.0, "it spoke"
    assert known.silent_s(asked, 130.0).silent_s == 130.0


def test_time_without_a_way_to_a_board_counts_while_this_machine_is_awake(fleet: FleetFolder) -> None:
    known = Known(fleet)
    confirmed = rollout(RolloutEvent.ASKED, RolloutEvent.UPDATED)
    assert known.silent_s(confirmed, 0.0, tunnel="down").cut_off_s == 0.0
    time.sleep(0.05)
    first = known.silent_s(confirmed, 0.0, tunnel="refused").cut_off_s
    assert 0.05 <= first <= LONGEST_S
    assert known.silent_s(confirmed, 0.0).cut_off_s == 0.0, "the tunnel is up again"
    assert known.silent_s(confirmed, 0.0, tunnel="down").cut_off_s == 0.0, "it counts anew"


def test_a_store_that_was_replaced_is_the_one_that_is_read(fleet: FleetFolder) -> None:
    known = Known(fleet)
    assert known.silent_s(rollout(), 7.0).silent_s == 0.0
    known.watch.mark()
    for file in fleet.store.parent.glob(f"{fleet.store.name}*"):
        file.unlink()
    assert known.watch.evidence(rollout()).wave[0].silent_s is None
