"""What a journal says to people is true."""

from __future__ import annotations

from dataclasses import replace

from edge.cli.rollout_lines import line_of
from edge.rollouts.entries import Asked, Entry
from edge.rollouts.fold import after, begin
from edge.rollouts.state import RolloutEvent as Event
from tests.rollouts.paper import NEW, OLD, generation, plan_of


def test_who_keeps_the_release_after_a_rollback_is_named() -> None:
    asked = Asked(counter=2, nonce="00", content=generation(2, NEW), before=generation(1, OLD))
    entry = Entry(number=1, previous="", at=1.0, event=Event.PLAN, plan=plan_of(("a", "b", "c", "d")))
    rollout = begin(entry)
    told = ""
    for event, device in (
        (Event.BEGIN, None), (Event.UNCHANGED, "a"), (Event.ASKED, "b"), (Event.UPDATED, "b"), (Event.ASKED, "c"),
        (Event.UPDATED, "c"), (Event.FAILED, "d"), (Event.FINISH, None), (Event.TAKE_BACK, None), (Event.LEFT, "b"),
        (Event.BACK, "c"), (Event.ENDED, None),
    ):  # fmt: skip
        entry = replace(entry, event=event, device=device, plan=None, asked=asked)
        rollout = after(rollout, entry)
        _, told = line_of(entry, rollout)
    assert told == f"digits-4-1 is taken-back; a: ran {NEW} before; b: left as it is"
