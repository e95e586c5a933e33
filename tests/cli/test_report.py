"""A board's report, for a person."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.errors import HostUnreachable, Inconsistent
from agent.contract.messages import STALE_AFTER_S, CheckResult, Reported, TrustedRole
from agent.contract.said import ended, measured, rows
from agent.contract.states import UpdateState
from edge.cli.report import show_report
from edge.inventory import Device
from edge.rollouts.boards import BoardState
from edge.rollouts.trusted import Standing, compared
from tests.contract.samples import sample
from tests.contract.strategies import documents

DEVICE = Device(
    name="pi",
    device_id="b-1",
    host="pi.local",
    user="pi",
    host_key="ssh-ed25519 AAAA",
    fingerprint="SHA256:a",
)


HOUR_S = 3600
STATE = BoardState(reported=sample(Reported), agent=None, alive=False)


def shown(capsys: pytest.CaptureFixture[str], state: BoardState, beside: Standing | None = None) -> str:
    show_report(DEVICE, state, beside)
    return capsys.readouterr().out


def test_all_that_is_reported_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    reported = sample(Reported)
    out = shown(capsys, STATE)
    assert reported.current is not None
    assert reported.previous is not None
    for words in (
        "pi@pi.local", reported.current.title, f"{reported.previous.title} (generation", f"[{reported.code}]",
        str(reported.hint), "signed by its own key", f"desired state {reported.counter}", "1 of 3",
        f"{reported.trust[0].role} {reported.trust[0].version}", str(reported.clock_doubt), "edge device history pi",
    ):  # fmt: skip
        assert words in out


def test_a_board_that_is_not_reached_is_shown_as_the_last_known_with_its_age(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = HostUnreachable(host="pi.local", port=22, reason="timed out")
    heard = int(time.time()) - 3 * HOUR_S
    out = shown(capsys, replace(STATE, unreached=error, heard_at=heard))
    assert "the last known, heard" in out
    assert "(3 h ago)" in out
    assert "[ssh.unreachable]" in out
    assert "agent" not in out, "nothing is said of what was not asked"


def test_a_folder_that_is_older_than_what_the_board_knows_is_said_to_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trust = (TrustedRole("root", 1, 9), TrustedRole("timestamp", 14, 9))
    out = shown(capsys, STATE, compared(trust, {"root": 1, "timestamp": 12}, ("timestamp",)))
    assert "`edge key restore`: timestamp 12 here, 14 there" in out
    assert compared(trust, {"root": 1, "timestamp": 14}, ()).word == "same"
    assert compared(trust, {"root": 1, "timestamp": 15}, ()).word == "ahead"
    out = shown(capsys, STATE, compared(trust, {"root": 1, "timestamp": 12}, ("root", "timestamp")))
    assert "--reset-trust`: root 1 here, 1 there, timestamp 12 here, 14 there" in out
    twin = compared(trust, {"root": 1, "timestamp": 14}, ("timestamp",))
    assert (twin.word, twin.differences) == ("behind", ": timestamp 14 here, 14 there")


def test_a_stale_board_says_what_ends_it() -> None:
    now = 1_800_000_000
    stale = replace(sample(Reported), contact=now - STALE_AFTER_S - 1)
    told = {row.name: row for row in rows(stale, now)["the board"]}
    assert told["contact"].sign == "doubt"
    assert "edge device refresh" in told["do"].text
    fresh = rows(replace(stale, contact=now - STALE_AFTER_S), now)["the board"]
    assert "do" not in {row.name for row in fresh}


def test_what_is_inconsistent_says_what_to_do() -> None:
    error = Inconsistent(generation=4, reason="the agent does not start")
    reported = replace(
        sample(Reported), state=UpdateState.INCONSISTENT, code=error.code, message=str(error), hint=error.hint
    )
    told = {row.name: row for row in rows(reported, 1)["last update"]}
    assert told["state"].sign == told["why"].sign == "bad"
    assert error.hint == told["do"].text


@given(documents(Reported), st.integers(-(2**40), 2**40))
@settings(derandomize=True, max_examples=20, deadline=None)
def test_whatever_a_board_reports_can_be_told(reported: Reported, now: int) -> None:
    for part in rows(reported, now).values():
        assert all(row.name and row.sign in ("", "good", "doubt", "bad") for row in part)
    for entry in reported.history:
        assert ended(entry, now)


def test_a_bare_board_is_said_to_be_bare(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(DEVICE, BoardState(reported=None, agent=None, alive=False))
    out = capsys.readouterr().out
    assert "flash it with `edge flash pi RELEASE`" in out
    assert "signed" not in out


def test_a_trial_in_a_line() -> None:
    check = replace(
        sample(CheckResult), release="digits@2", agreement=0.985, floor=0.9, proof_within=1.0, p95_ms=1.234,
        budget_p95_ms=20.0, memory_mb=11.4, budget_memory_mb=None,
    )  # fmt: skip
    assert measured(check) == (
        "digits@2: agrees 98.5% (at least 90.0%), like its proof run 100.0%, p95 1.23 of 20.00 ms CPU, 11.4 MB"
    )
    bare = replace(check, agreement=None, proof_within=None, p95_ms=None, memory_mb=None)
    assert measured(bare) == "digits@2:"
