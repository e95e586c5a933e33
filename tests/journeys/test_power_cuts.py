"""Boards that are cut from power at random moments of updates under load: they come back serving each time.

Three cuts, or as many as `--power-cuts` says. `python -m tests.journeys.power_cuts --cuts 20 --seed N` does the same by
hand and prints the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.beds.fixtures import or_skip
from tests.journeys.power_cuts.bed import CONTAINER, EMULATED, Bed
from tests.journeys.power_cuts.rounds import power_cuts

pytestmark = [pytest.mark.bed, pytest.mark.timeout(20000)]

SEED = 4


@pytest.mark.parametrize("bed", [CONTAINER, EMULATED], ids=["container", "emulated"])
def test_each_power_cut_leaves_a_serving_board(
    bed: Bed, beds_swept: None, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    count: int = pytestconfig.getoption("--power-cuts")
    rounds = or_skip(lambda: power_cuts(bed, tmp_path, cuts=count, seed=SEED))
    assert len(rounds) == count
    assert {one.number: one.broken for one in rounds if one.broken} == {}
