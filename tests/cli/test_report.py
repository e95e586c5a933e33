"""A board's report, for a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.contract.messages import CheckResult, Reported
from edge.cli.report import check_line, show_report
from edge.inventory import Device
from edge.rollouts.boards import BoardState
from tests.contract.samples import sample

DEVICE = Device(
    name="pi",
    device_id="b-1",
    host="pi.local",
    user="pi",
    host_key="ssh-ed25519 AAAA",
    fingerprint="SHA256:a",
)


def test_all_that_is_reported_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    reported = sample(Reported)
    show_report(DEVICE, BoardState(reported=reported, agent=None, alive=False))
    out = capsys.readouterr().out
    assert reported.current is not None
    assert reported.previous is not None
    for words in (
        "pi@pi.local", reported.current.title, "kept for `edge flash --previous`", f"[{reported.code}]",
        str(reported.hint), "signed by its own key", f"desired state {reported.counter}", "attempt 1 of 3",
    ):  # fmt: skip
        assert words in out


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
    assert check_line(check) == (
        "digits@2: agrees 98.5% (at least 90.0%), like its proof run 100.0%, p95 1.23 of 20.00 ms CPU, 11.4 MB"
    )
    bare = replace(check, agreement=None, proof_within=None, p95_ms=None, memory_mb=None)
    assert check_line(bare) == "digits@2:"
