"""The way of an update: first flash, replacement, refusal, taking back, going back, with real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.release import Budgets
from agent.contract.states import UpdateState
from tests.update.world import DEVICE, QUICK, Board, wait_until

REFUSED = {
    "good disagrees": "trial.golden-disagrees",
    "good damaged": "trial.golden-mismatch",
    "good slow": "trial.too-slow",
    "good large": "trial.too-large",
    "good check-fails": "engine.inference-failed",
    "good check-killed": "trial.crashed",
    "good unmeasured": "trial.crashed",
    "good check-hangs": "trial.timed-out",
}
TAKEN_BACK = {
    "dies": "trial.timed-out",
    "hangs": "trial.timed-out",
    "unready": "trial.timed-out",
    "answers-wrongly": "trial.probation-failed",
    "dies-later": "trial.probation-failed",
}


def test_a_bare_board_is_flashed_and_serves(board: Board) -> None:
    report = board.flash(1, board.fleet.publish("good"))
    assert (report.state, report.code, report.counter) == (UpdateState.CONFIRMED, None, 1)
    assert report.current is not None
    assert report.current.title == "digits@1"
    assert report.checks[0].passed
    assert report.verified is not None
    assert report.verified.startswith("tuf root 1")
    assert board.served()["releases"] == ["digits@1"]
    assert (board.link("current"), board.link("trial")) == (1, None)


@pytest.mark.bed
def test_a_first_generation_that_is_refused_leaves_none_and_says_why(board: Board) -> None:
    report = board.flash(1, board.fleet.publish("disagrees"))
    assert (report.state, report.code) == (UpdateState.REFUSED, "trial.golden-disagrees")
    assert (report.current, board.link("current"), board.link("trial")) == (None, None, None)
    report = board.flash(2, board.fleet.publish("unready"), terms=replace(QUICK, start_timeout_s=1.0))
    assert (report.state, board.link("trial")) == (UpdateState.ROLLED_BACK, None)
    assert board.flash(3, board.fleet.publish("good")).state is UpdateState.CONFIRMED


def test_what_fails_its_check_is_refused_and_the_agent_is_not_touched(flashed: Board) -> None:
    budgets = Budgets(p95_ms=20.0, memory_mb=100.0)
    before = flashed.served()
    for counter, (behaviour, code) in enumerate(REFUSED.items(), start=2):
        terms = replace(QUICK, check_timeout_s=1.0) if code == "trial.timed-out" else QUICK
        report = flashed.flash(counter, flashed.fleet.publish(behaviour, budgets=budgets), terms=terms)
        assert (report.state, report.code) == (UpdateState.REFUSED, code), (behaviour, report.message)
        assert report.message
        assert report.history[0].counter == counter
        assert flashed.served() == before, behaviour
        assert (flashed.link("current"), flashed.link("trial")) == (1, None)
    wait_until(
        lambda: not list((flashed.root / "generations").glob("[2-9]")), "what was refused is reclaimed"
    )


@pytest.mark.bed
def test_what_fails_its_probation_is_taken_back(flashed: Board) -> None:
    for counter, (behaviour, code) in enumerate(TAKEN_BACK.items(), start=2):
        start_timeout_s = 2.0 if code == "trial.timed-out" else 20.0
        terms = replace(QUICK, start_timeout_s=start_timeout_s, probation_s=1.5)
        report = flashed.flash(counter, flashed.fleet.publish(behaviour), terms=terms)
        assert (report.state, report.code) == (UpdateState.ROLLED_BACK, code), (behaviour, report.message)
        assert flashed.served()["generation"] == 1, behaviour
        assert (flashed.link("current"), flashed.link("trial")) == (1, None)


def test_a_good_version_replaces_and_the_one_before_stays_pinned_until_finalised(flashed: Board) -> None:
    first, second = flashed.fleet.repository.release("digits@1"), flashed.fleet.publish("good second")
    report = flashed.flash(2, second)
    assert report.previous is not None
    assert report.previous.number == 1
    first_bundle = flashed.root / "objects" / next(iter(first.bundles.values()))
    flashed.apply()  # by its end all is reclaimed that may be
    assert first_bundle.is_dir()
    report = flashed.flash(3, second, finalise=2)
    assert (report.state, report.counter, report.previous) == (UpdateState.FINALISED, 3, None)
    assert report.current is not None
    assert report.current.number == 2, "the same content needs no trial"
    wait_until(lambda: not first_bundle.exists(), "what nothing refers to is reclaimed")
    report = flashed.flash(4, first)
    assert (report.state, flashed.served()["releases"]) == (UpdateState.CONFIRMED, ["digits@1"])


def test_an_agent_that_was_started_after_the_links_changed_is_not_started_anew(flashed: Board) -> None:
    first = alive(flashed)
    assert first is not None
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: alive(flashed) not in (None, first), "the agent is started again")
    served = alive(flashed)

    os.kill(json.loads((flashed.root / "run/supervisor.json").read_text())["pid"], signal.SIGHUP)
    time.sleep(1.0)

    assert alive(flashed) == served


def alive(board: Board) -> tuple[int, str] | None:
    """Process id and boot of a live agent that is ready."""
    running = json.loads((board.root / "run/agent.json").read_text())
    there = Path(f"/proc/{running['pid']}/cmdline").exists()
    return (running["pid"], running["boot"]) if there and running["ready"] else None


def test_flashing_the_same_again_does_nothing_and_says_so(flashed: Board) -> None:
    served = flashed.served()
    flashed.push("again")
    wait_until(lambda: flashed.report.request == "again", "it was looked at")
    assert "nothing to do" in (flashed.root / "run/update.log").read_text()
    assert flashed.served() == served


def test_a_refused_desired_state_stays_refused_when_it_is_pushed_again(flashed: Board) -> None:
    flashed.flash(2, flashed.fleet.publish("disagrees"))
    flashed.stop()
    flashed.push()
    assert flashed.apply() == 3
    assert flashed.report.state is UpdateState.REFUSED
    assert flashed.report.code == "trial.golden-disagrees"


def test_a_newer_desired_state_in_mid_trial_first_returns_to_current(flashed: Board) -> None:
    second, third = (flashed.fleet.publish(f"good {name}") for name in ("b", "c"))
    flashed.assign(2, second, terms=replace(QUICK, probation_s=30.0))
    flashed.push("second")
    wait_until(lambda: flashed.served().get("generation") == 2, "the second is on trial")
    report = flashed.flash(3, third)
    assert (report.state, report.counter) == (UpdateState.CONFIRMED, 3)
    assert flashed.served()["releases"] == ["digits@3"]
    ended = {entry.counter: (entry.state, entry.code) for entry in report.history}
    assert ended[2] == (UpdateState.ROLLED_BACK, "update.superseded")
    assert report.previous is not None
    assert report.previous.number == 1


@pytest.mark.bed
def test_a_new_runtime_comes_in_a_generation_and_a_broken_one_is_refused(flashed: Board) -> None:
    release = flashed.fleet.repository.release("digits@1")
    broken = flashed.fleet.another_agent({"agent/update/verify.py": b"import nothing_of_the_kind\n"})
    report = flashed.flash(2, release, runtime=broken)
    assert (report.state, report.code) == (UpdateState.REFUSED, "trial.crashed")
    assert "update process" in (report.message or "")
    silent = flashed.fleet.another_agent(
        {"agent/app.py": b"import time\n\ndef main(root, *, generation=None):\n    time.sleep(600)\n"},
        version="0.1.2",
    )
    report = flashed.flash(3, release, runtime=silent, terms=replace(QUICK, start_timeout_s=2.0))
    assert (report.state, flashed.served()["generation"]) == (UpdateState.ROLLED_BACK, 1)
    supervisor = flashed.supervisor
    assert supervisor is not None
    better = flashed.fleet.another_agent({"agent/better.py": b""}, version="0.1.3")
    report = flashed.flash(4, release, runtime=better)
    assert (report.state, flashed.served()["generation"]) == (UpdateState.CONFIRMED, 4)
    wait_until(lambda: "\0supervise" in _command(supervisor.pid), "the supervisor goes on in the new runtime")
    assert flashed.served()["generation"] == 4


def test_the_device_of_the_report_is_the_boards(flashed: Board) -> None:
    assert flashed.flash(2).device == DEVICE, "a generation without models is one too"


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
