"""The plan is a pure function of the seed, and does what its sizes say."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from edge.sim.chaos.plan import BROKER, COLLECTOR, QUIET, Deed, make_plan

seeds = st.integers(-(2**70), 2**70)
sizes = st.fixed_dictionaries(
    {
        "boards": st.integers(1, 12),
        "samples": st.integers(100, 10**7),
        "kills": st.integers(1, 9),
        "cuts": st.integers(0, 9),
    }
)


@given(seeds, sizes)
def test_a_seed_always_gives_the_same_plan(seed: int, size: dict[str, int]) -> None:
    assert make_plan(seed, **size) == make_plan(seed, **size)


def test_another_process_with_other_hashes_makes_the_same_plan() -> None:
    code = "from edge.sim.chaos.plan import make_plan; print(make_plan(41))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(make_plan(41))


@given(seeds, st.integers(1, 1000))
def test_another_seed_gives_another_plan(seed: int, more: int) -> None:
    assert make_plan(seed).faults != make_plan(seed + more).faults


@given(seeds, sizes)
def test_every_part_is_killed_and_every_link_cut_as_often_as_asked(seed: int, size: dict[str, int]) -> None:
    plan = make_plan(seed, **size)
    assert plan.parts == (*(f"board-{n}" for n in range(1, size["boards"] + 1)), BROKER, COLLECTOR)
    for part in plan.parts:
        assert len(plan.of(part, Deed.KILL)) == size["kills"]
        assert len(plan.of(part, Deed.CUT, Deed.UNPLUG)) == (size["cuts"] if part in plan.boards else 0)


@given(seeds, sizes)
def test_faults_are_in_order_and_neither_first_nor_last(seed: int, size: dict[str, int]) -> None:
    plan = make_plan(seed, **size)
    moments = [fault.at for fault in plan.faults]
    assert moments == sorted(moments)
    assert min(moments) >= int(QUIET * plan.samples)
    assert max(moments) <= (1 - QUIET) * plan.samples


@given(seeds, sizes)
def test_once_all_parts_are_killed_at_the_same_moment(seed: int, size: dict[str, int]) -> None:
    plan = make_plan(seed, **size)
    moments = [{fault.at for fault in plan.of(part, Deed.KILL)} for part in plan.parts]
    assert set.intersection(*moments)
