"""What a journal says to people is true."""

from __future__ import annotations

from dataclasses import replace

from agent.contract.release import Generation, GenerationModel
from edge.cli.rollout_lines import line_of
from edge.rollouts.engine import reason_of
from edge.rollouts.entries import Asked, Entry
from edge.rollouts.fold import after, begin
from edge.rollouts.state import RolloutEvent as Event
from edge.rollouts.verdict import Check, CheckVerdict, Decision
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


def test_that_no_request_came_is_said_once() -> None:
    def check(name: str, value: float | None) -> Check:
        return Check(
            name=name, verdict=CheckVerdict.OPEN, value=value, threshold=1.0, n=0, sentence=f"{name} is open"
        )

    nothing = (check("errors", None), check("slowdown", None))
    assert reason_of(Decision(checks=(*nothing, check("requests", 0)))).message == "requests is open"
    assert reason_of(Decision(checks=nothing)).message == "errors is open; slowdown is open"


def test_models_that_a_board_keeps_are_named_on_both_sides() -> None:
    other = GenerationModel(name="other", release="other@1", bundle="9" * 64)

    def both(release: str) -> Generation:
        made = generation(2, release)
        return replace(made, models=(*made.models, other))

    rollout = begin(Entry(number=1, previous="", at=1.0, event=Event.PLAN, plan=plan_of(("a",))))
    asked = Asked(counter=2, nonce="00", content=both(NEW), before=both(OLD))
    entry = Entry(number=2, previous="", at=1.0, event=Event.ASKED, device="a", asked=asked)
    assert line_of(entry, rollout)[1] == f"a is asked to run {NEW} + other@1 instead of {OLD} + other@1"
