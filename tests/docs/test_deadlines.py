"""The table of deadlines in `docs/updates.md` says the numbers that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.contract.release import LONGEST_PHASE_S, MOST_ATTEMPTS
from agent.supervisor.deadlines import RECOVER_TIMEOUT_S, START_TIMEOUT_S, WATCHDOG_S
from agent.update.deadline import (
    BETWEEN_S,
    LOOK_S,
    OUTER_SPARE_S,
    RECLAIM_S,
    SETTLE_S,
    STAGE_BYTES_A_S,
    STAGE_S,
)
from agent.update.machine import RETURN_S
from agent.update.probation import LONGEST_WAIT_S
from agent.update.reaching import LINK_S
from agent.update.running import MAX_STARTS
from agent.update.service import COMMAND_TIMEOUT_S

PAGE = Path(__file__).resolve().parents[2] / "docs" / "updates.md"
STATED = {
    "| settle": (SETTLE_S, RECOVER_TIMEOUT_S),
    "| look": (LOOK_S,),
    "| stage": (STAGE_S, STAGE_BYTES_A_S / 1000),
    "| probation": (LONGEST_WAIT_S,),
    "| return": (RETURN_S,),
    "| reclaim": (RECLAIM_S,),
    "| what stands between": (BETWEEN_S,),
    "| a call": (COMMAND_TIMEOUT_S,),
    "| the whole": (OUTER_SPARE_S,),
    "that does not listen": (START_TIMEOUT_S, WATCHDOG_S),
    "  one that takes part in a TLS": (LINK_S,),
    "most one day": (MOST_ATTEMPTS,),
}


@pytest.mark.parametrize("beginning", STATED)
def test_a_deadline_is_stated_as_it_is(beginning: str) -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(beginning)]
    assert len(lines) == 1
    assert {f"{number:g}" for number in STATED[beginning]} <= set(re.findall(r"\d+", lines[0]))


def test_one_day_and_ten_starts_are_these() -> None:
    assert (LONGEST_PHASE_S, MAX_STARTS) == (24 * 3600, 10)
    assert "Ten starts without" in PAGE.read_text()
