"""The state of a rollout is a fold over its journal: any order of events that the tables allow, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.codec import decode, encode
from agent.contract.errors import DocumentInvalid
from edge.rollouts.entries import Asked, Entry, Reason
from edge.rollouts.fold import MemberNow, Rollout, after, begin, fold
from edge.rollouts.state import (
    ASKING,
    BOARD_EVENTS,
    END_STATES,
    GOING_BACK,
    HAS_RELEASE,
    STEPS,
    TRANSITIONS,
    MemberState,
    RolloutEvent,
    RolloutState,
)
from tests.rollouts.paper import NEW, OLD, generation, plan_of

PLAN = plan_of(("a",), ("b", "c"))
FIRST = Entry(number=1, previous="0" * 64, at=1.0, event=RolloutEvent.PLAN, plan=PLAN)
events = st.lists(st.tuples(st.sampled_from(RolloutEvent), st.sampled_from(["a", "b", "c"])), max_size=60)


def entry(event: RolloutEvent, device: str, number: int) -> Entry:
    asked = Asked(counter=number, nonce="00", content=generation(number, NEW), before=generation(1, OLD))
    return Entry(
        number=number,
        previous="0" * 64,
        at=float(number),
        event=event,
        device=device if event in BOARD_EVENTS else None,
        asked=asked if event in (RolloutEvent.ASKED, RolloutEvent.ASKED_BACK) else None,
        reason=Reason(code="x", message="y"),
        mark=number if event is RolloutEvent.SETTLE else None,
    )


@settings(max_examples=300)
@given(events)
def test_whatever_is_tried_the_tables_hold(tried: list[tuple[RolloutEvent, str]]) -> None:
    entries, rollout = [FIRST], begin(FIRST)
    for event, device in tried:
        one = entry(event, device, len(entries) + 1)
        before = rollout
        try:
            rollout = after(rollout, one)
        except DocumentInvalid:
            continue
        entries.append(one)
        check_step(before, rollout, one)
    assert fold(entries) == rollout
    assert fold([decode(Entry, encode(one)) for one in entries]) == rollout, (
        "what is read is what was written"
    )


def check_step(before: Rollout, now: Rollout, one: Entry) -> None:
    if one.event in BOARD_EVENTS:
        assert one.device is not None
        state = before.members[one.device].state
        assert now.members[one.device].state is STEPS[state, one.event]
        assert now.state is before.state
        if one.event in ASKING:
            assert before.state in ASKING[one.event], "nobody is asked while nothing goes on"
    else:
        assert now.state is TRANSITIONS[before.state, one.event]
        assert {n: m.state for n, m in now.members.items()} == {n: m.state for n, m in before.members.items()}
    assert not set(now.outstanding) & set(now.unreached)
    if now.state in GOING_BACK:
        assert all(now.members[name].state in HAS_RELEASE for name in now.outstanding)
    else:
        waiting = (MemberState.WAITING, MemberState.ASKED)
        assert all(now.members[name].state in waiting for name in now.outstanding)


def test_every_state_is_reached_and_every_open_one_can_be_left() -> None:
    assert {state for (_, _), state in TRANSITIONS.items()} == set(RolloutState) - {RolloutState.PLANNED}
    assert {state for state, _ in TRANSITIONS} >= set(RolloutState) - END_STATES
    assert {state for (_, _), state in STEPS.items()} == set(MemberState)
    assert {event for _, event in TRANSITIONS} | BOARD_EVENTS == set(RolloutEvent) - {RolloutEvent.PLAN}


def test_a_board_that_was_unreached_is_taken_up_again_only_when_it_is_resumed() -> None:
    rollout = fold([FIRST, entry(RolloutEvent.BEGIN, "", 2), entry(RolloutEvent.UNREACHED, "a", 3)])
    assert (rollout.outstanding, rollout.unreached) == ((), ("a",))
    rollout = after(rollout, entry(RolloutEvent.RESUME, "", 4))
    assert (rollout.outstanding, rollout.unreached) == (("a",), ())


def test_a_board_that_comes_late_is_watched_anew() -> None:
    entries = [FIRST]
    for event in (RolloutEvent.BEGIN, RolloutEvent.UNREACHED, RolloutEvent.SETTLE, RolloutEvent.RESUME):
        entries.append(entry(event, "a", len(entries) + 1))
    assert fold(entries).mark == 4
    for event in (RolloutEvent.ASKED, RolloutEvent.UPDATED):
        entries.append(entry(event, "a", len(entries) + 1))
    assert fold(entries).mark is None


def test_why_the_gate_let_it_go_on_is_no_reason_for_going_back() -> None:
    events = (RolloutEvent.BEGIN, RolloutEvent.FINISH, RolloutEvent.TAKE_BACK)
    one_wave = replace(FIRST, plan=plan_of(("a",)))
    entries = [entry(event, "a", number) for number, event in enumerate(events, start=2)]
    assert fold([one_wave, *entries[:2], replace(entries[2], reason=None)]).reason is None
    halt = [entry(RolloutEvent.HALT, "a", 3), replace(entry(RolloutEvent.ENDED, "a", 4), reason=None)]
    assert fold([one_wave, entries[0], *halt]).reason == halt[0].reason


def test_no_wave_follows_the_last_one() -> None:
    rollout = fold([FIRST, entry(RolloutEvent.BEGIN, "", 2), entry(RolloutEvent.ADVANCE, "", 3)])
    assert rollout.is_last_wave
    with pytest.raises(DocumentInvalid, match="no wave follows"):
        after(rollout, entry(RolloutEvent.ADVANCE, "", 4))


def test_boards_whose_wave_went_through_keep_the_release_at_a_halt() -> None:
    members = {name: MemberNow(state=MemberState.UPDATED) for name in "abc"}
    halting = Rollout(
        plan=PLAN, state=RolloutState.HALTING, begun=1, since=1, wave=1, members=members
    )  # fmt: skip
    assert halting.outstanding == ("b", "c")
    taking_back = Rollout(
        plan=PLAN, state=RolloutState.TAKING_BACK, begun=1, since=1, wave=1, members=members
    )  # fmt: skip
    assert taking_back.outstanding == ("a", "b", "c")
