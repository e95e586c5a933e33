from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from agent.contract.messages import Presence, Reported, ServedModel
from agent.contract.sketch import of
from agent.contract.states import UpdateState
from edge.dashboard.condition import Condition, Level, conditions
from edge.telemetry.records import BoardNow, BoardWindow, LinkState, ModelWindow
from tests.telemetry.boards import usual_board as counters

NOW = 1_700_000_000.0
WELL = BoardNow(
    device="b-1", presence=Presence.ONLINE, boot="0" * 16, agent_version="1", profile="p",
    models=(ServedModel("digits", "digits@1", "ab"),), last_seen=NOW - 2, rates=(), gaps=0, breaks=0,
    window=BoardWindow(seconds=10, cpu_percent=5, agent_cpu_percent=1, now=counters()),
    link=LinkState(tunnel="up", reason=None, silent_s=0, backlog=False), reported=None,
)  # fmt: skip


def window(requests: int, failed: int) -> ModelWindow:
    return ModelWindow(
        device="b-1", model="digits", release="digits@1", seconds=10, requests=requests,
        errors={"engine.failed": failed} if failed else {}, batches=requests, queue=0, compute_s=1,
        latency_ms=of([1.0]), compute_ms=of([1.0]),
    )  # fmt: skip


def link(**changes: Any) -> dict[str, Any]:
    usual = LinkState(tunnel="up", reason=None, silent_s=0, backlog=False)
    return {"link": dataclasses.replace(usual, **changes)}


def report(state: UpdateState, **changes: Any) -> dict[str, Any]:
    return {"reported": Reported(device="b-1", counter=7, state=state, nonce="n", wall=0, **changes)}


def hardware(**changes: Any) -> dict[str, Any]:
    return {"window": BoardWindow(seconds=10, cpu_percent=5, agent_cpu_percent=1, now=counters(**changes))}


def said(**changes: Any) -> tuple[Condition, ...]:
    board = dataclasses.replace(WELL, **changes)
    return conditions(board, flashed=True, interval_s=10.0, now=NOW)


@pytest.mark.parametrize(
    ("changes", "word", "level", "reason"),
    [
        ({}, "ok", Level.GOOD, ""),
        ({"presence": Presence.LOST}, "lost", Level.BAD, "without a goodbye"),
        ({"presence": Presence.OFFLINE}, "offline", Level.NOTE, "goodbye"),
        (link(silent_s=31), "silent", Level.BAD, "31 s"),
        (link(silent_s=29), "ok", Level.GOOD, ""),
        ({"last_seen": NOW - 31}, "unheard", Level.DOUBT, "31 s"),
        (link(tunnel="down", reason="no route"), "unreachable", Level.DOUBT, "no route"),
        (
            {**link(tunnel="refused"), "presence": Presence.LOST},
            "unreachable",
            Level.DOUBT,
            "refused",
        ),
        (link(backlog=True), "catching up", Level.NOTE, "waited"),
        ({"rates": (window(100, 5),)}, "failing", Level.BAD, "5 of 100 requests failed: engine.failed"),
        ({"rates": (window(100, 4),)}, "errors", Level.DOUBT, "4 of 100"),
        (
            {"models": (ServedModel("digits", "digits@2", "ab", "failed"),)},
            "failing",
            Level.BAD,
            "digits@2 does not load",
        ),
        (report(UpdateState.ROLLED_BACK, message="too slow"), "rolled back", Level.DOUBT, "too slow"),
        (report(UpdateState.REFUSED, message="it disagrees"), "refused", Level.DOUBT, "it disagrees"),
        (report(UpdateState.INCONSISTENT), "inconsistent", Level.BAD, ""),
        (report(UpdateState.PROBATION, in_progress=True), "updating", Level.NOTE, "probation"),
        (report(UpdateState.CONFIRMED), "ok", Level.GOOD, ""),
        (
            report(UpdateState.CONFIRMED, contact=int(NOW) - 31 * 86_400),
            "stale",
            Level.DOUBT,
            "edge device refresh",
        ),
        (report(UpdateState.CONFIRMED, contact=int(NOW) - 29 * 86_400), "ok", Level.GOOD, ""),
        (hardware(throttled="under-voltage"), "throttled", Level.DOUBT, "under-voltage"),
        (hardware(temperature_c=80.0), "hot", Level.DOUBT, "80 °C"),
        (hardware(temperature_c=None), "ok", Level.GOOD, ""),
    ],
)
def test_a_word_says_how_a_board_is(changes: Mapping[str, Any], word: str, level: Level, reason: str) -> None:
    worst = said(**changes)[0]
    assert (worst.word, worst.level) == (word, level)
    assert reason in worst.reason


def test_a_cut_cable_is_not_held_against_the_board() -> None:
    """The broker said `lost` because the tunnel ended: only the tunnel is known to be bad."""
    told = said(presence=Presence.LOST, **link(tunnel="down"))
    assert [condition.level for condition in told] == [Level.DOUBT]


def test_the_worst_comes_first_and_the_rest_is_told_too() -> None:
    told = said(
        rates=(window(100, 1),), **link(silent_s=99), **hardware(temperature_c=90.0, throttled="frequency")
    )
    assert [condition.word for condition in told] == ["silent", "errors", "throttled", "hot"]


@pytest.mark.parametrize(("flashed", "word"), [(True, "waiting"), (False, "not flashed")])
def test_a_board_that_was_never_heard_of_is_no_bad_one(flashed: bool, word: str) -> None:
    (only,) = conditions(None, flashed=flashed, interval_s=10.0, now=NOW)
    assert (only.word, only.level) == (word, Level.NOTE)
    unheard = dataclasses.replace(WELL, last_seen=None, link=None)
    (only,) = conditions(unheard, flashed=flashed, interval_s=10.0, now=NOW)
    assert only.word == word


def test_a_board_that_reports_every_second_is_given_five() -> None:
    assert conditions(WELL, flashed=True, interval_s=0.1, now=NOW + 2.9)[0].word == "ok"
    assert conditions(WELL, flashed=True, interval_s=0.1, now=NOW + 3.1)[0].word == "unheard"


def test_every_level_has_a_sign_of_its_own() -> None:
    assert len({level.sign for level in Level}) == len(Level)
