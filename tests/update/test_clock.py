"""The board's clock: late, early, jumping, and told by documents that may be wrong."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.wording import DAY_S, LAST_SECOND, shown
from agent.update.clock import Clock

NOW = 1_800_000_000
YEAR_S = 365 * DAY_S

times = st.integers(-(10**12), 10**12)
roots = st.sampled_from(["", "1 a", "2 a", "1 b"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("system"), times),
        st.tuples(st.just("signed"), times),
        st.tuples(st.just("root"), roots),
    ),
    max_size=12,
)


def clock(system: float, *, floor: int = 0, root: str = "1 a", seen: int = 0) -> Clock:
    return Clock(floor=floor, root=root, seen=seen, system=lambda: system)


def test_a_board_without_a_clock_judges_by_the_latest_signed_time() -> None:
    assert clock(0.0).raised(NOW).now() == NOW
    assert clock(NOW + 5.0).raised(NOW).now() == NOW + 5, "its own clock counts where it is later"


def test_a_clock_that_jumped_ahead_once_refuses_nothing_later_and_is_told() -> None:
    jumped = clock(NOW + 20.0 * YEAR_S).raised(NOW)
    back = clock(NOW + 60.0, floor=jumped.floor, seen=jumped.seen)
    assert back.now() == NOW + 60
    assert shown(jumped.seen) in str(back.doubt())


def test_a_clock_that_stands_before_what_was_signed_is_told() -> None:
    assert "1970-01-01" in str(clock(0.0, floor=NOW).doubt())
    assert clock(NOW - 60.0, floor=NOW, seen=NOW).doubt() is None, "a minute is no doubt"


def test_a_wrong_signed_time_is_let_go_of_by_another_root_alone() -> None:
    wrong = clock(NOW).raised(NOW + 9 * YEAR_S)
    assert wrong.under("1 a").now() == NOW + 9 * YEAR_S, "an older word does not lower it"
    assert wrong.raised(NOW).now() == NOW + 9 * YEAR_S
    assert wrong.under("2 a").now() == NOW


@given(steps)
@settings(max_examples=200, deadline=None)
def test_within_one_root_time_never_goes_below_what_was_signed(story: list[tuple[str, int | str]]) -> None:
    now = Clock(system=lambda: 0.0)
    highest = 0
    for what, value in story:
        if isinstance(value, str):
            highest = highest if value == now.root else 0
            now = now.under(value)
        elif what == "signed":
            highest = max(highest, value)
            now = now.raised(value)
        else:
            now = replace(now, system=clock(value).system)
        assert min(highest, LAST_SECOND - 1) <= now.now() < LAST_SECOND
        assert now.as_datetime().timestamp() == now.now()
        assert now.now() in {int(now.system()), now.floor, 0, LAST_SECOND - 1}, (
            "nothing but the two is ever believed"
        )
        now.doubt()
