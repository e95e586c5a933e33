"""Who is in which wave: stable, disjoint, growing; and what can't be read is an error at the door."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.errors import PlanInvalid
from edge.rollouts.waves import Candidate, divide, in_order, read_waves

PROFILES = ("raspberry-pi-5", "jetson-orin-nano")
fleets = st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True).map(
    lambda numbers: [Candidate(f"lab-{n}", f"b-{n:016x}", PROFILES[n % 2]) for n in numbers]
)
amounts = st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(
    lambda numbers: ",".join(f"{number}%" for number in sorted(numbers))
)


@given(fleets, amounts, st.text(max_size=8))
def test_nobody_is_in_two_waves_and_each_number_counts_the_waves_before_it(
    fleet: list[Candidate], text: str, rollout: str
) -> None:
    ordered = in_order(rollout, fleet)
    waves = divide(read_waves(text), ordered)
    taken = [candidate for _, wave in waves for candidate in wave]
    assert len(set(taken)) == len(taken)
    assert all(wave for _, wave in waves)
    done = 0
    for rule, wave in waves:
        done += len(wave)
        assert rule.amount is not None
        assert done == rule.amount.at_least(len(fleet))
    if text.endswith("100%"):
        assert set(taken) == set(fleet)


@given(fleets, st.randoms())
def test_the_order_is_nobodys_choice(fleet: list[Candidate], random: object) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert in_order("digits-4-1", shuffled) == in_order("digits-4-1", fleet)


def test_another_rollout_has_another_canary() -> None:
    fleet = [Candidate(f"lab-{n}", f"b-{n}", "p") for n in range(50)]
    canaries = {in_order(f"digits-{n}-1", fleet)[0] for n in range(20)}
    assert len(canaries) > 5


@given(fleets, st.integers(1, 59))
def test_a_board_that_leaves_moves_no_other_in_the_order(fleet: list[Candidate], which: int) -> None:
    gone = fleet[which % len(fleet)]
    left = tuple(candidate for candidate in in_order("r", fleet) if candidate != gone)
    assert in_order("r", [candidate for candidate in fleet if candidate != gone]) == left


def test_groups() -> None:
    fleet = in_order("r", [Candidate(f"lab-{n}", f"b-{n}", PROFILES[n % 2]) for n in range(6)])
    waves = divide(
        read_waves("lab-0,jetson-*,raspberry-pi-5,100%"), [*fleet, Candidate("jetson-1", "x", "p")]
    )
    assert [len(wave) for _, wave in waves] == [1, 1, 2, 3]
    assert waves[0][1][0].device == "lab-0"
    assert {candidate.profile for candidate in waves[2][1]} == {"raspberry-pi-5"}
    with pytest.raises(PlanInvalid, match="no board is of that profile or name"):
        divide(read_waves("office-*,100%"), fleet)


def test_small_fleets_have_fewer_waves() -> None:
    fleet = in_order("r", [Candidate(f"lab-{n}", f"b-{n}", "p") for n in range(4)])
    assert [len(wave) for _, wave in divide(read_waves("1,10%,50%,100%"), fleet)] == [1, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,",
        "0",
        "0%",
        "1.5",
        "5,5",
        "10%,5%",
        "10 %",
        "101%",
        "1e3",
        "-1",
        "1,,2",
        "3x",
        "--all",
        "100%,100%",
    ],
)
def test_what_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(PlanInvalid):
        read_waves(text)
