"""What strains a board, read from files as a kernel writes them, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent import system
from agent.serving.strain import COOLER_C, Strain, ease, strain_of

WELL: dict[str, Any] = {"over_limit": False, "memory_used_bytes": 500, "memory_total_bytes": 1000}


@pytest.fixture
def thermal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /sys/class/thermal."""
    monkeypatch.setattr(system, "SYS", tmp_path)
    return tmp_path / "class" / "thermal"


def zone(thermal: Path, number: int, degrees: float, **trips: float) -> None:
    folder = thermal / f"thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "temp").write_text(f"{degrees * 1000:.0f}\n")
    for place, (kind, at) in enumerate(trips.items()):
        (folder / f"trip_point_{place}_type").write_text(f"{kind}\n")
        (folder / f"trip_point_{place}_temp").write_text(f"{at * 1000:.0f}\n")


def test_headroom_is_that_of_the_zone_that_is_nearest_to_its_limit(thermal: Path, tmp_path: Path) -> None:
    zone(thermal, 0, 60.0, active=50.0, critical=110.0)
    zone(thermal, 1, 90.0, passive=99.0, critical=104.5)
    zone(thermal, 2, 95.0)

    assert system.BoardReader(tmp_path).pressing()["headroom_c"] == pytest.approx(9.0)


def test_a_zone_that_states_no_limit_says_nothing(thermal: Path, tmp_path: Path) -> None:
    zone(thermal, 0, 120.0, passive=0.0)

    assert system.BoardReader(tmp_path).pressing()["headroom_c"] is None


def test_a_raspberry_pi_says_by_its_flags_what_is_so_now(thermal: Path, tmp_path: Path) -> None:
    flags = tmp_path / "devices" / "platform" / "soc" / "soc:firmware" / "get_throttled"
    flags.parent.mkdir(parents=True)
    flags.write_text("50005\n")

    pressing = system.BoardReader(tmp_path).pressing()

    strain = strain_of(Strain(), over_limit=False, **pressing)
    assert (strain.hot, strain.slowed) == (True, True)


@pytest.mark.parametrize(
    ("flags", "hot", "slowed"),
    [
        ("0x0", False, False),
        ("50000", False, False),
        ("0x1", False, True),
        ("4", True, False),
        ("x", False, False),
    ],
)
def test_flags_of_the_past_are_not_flags_of_now(flags: str, hot: bool, slowed: bool) -> None:
    strain = strain_of(Strain(), throttled=flags, **WELL)

    assert (strain.hot, strain.slowed) == (hot, slowed)


def test_a_board_that_was_too_hot_has_to_cool_down_first() -> None:
    hot = strain_of(Strain(), headroom_c=0.0, **WELL)

    assert hot.hot
    assert strain_of(hot, headroom_c=COOLER_C - 1, **WELL).hot
    assert not strain_of(hot, headroom_c=COOLER_C + 1, **WELL).hot
    assert not strain_of(Strain(), headroom_c=COOLER_C - 1, **WELL).hot


def test_memory_is_short_beyond_the_agents_limit_or_at_the_boards_end() -> None:
    assert strain_of(Strain(), **{**WELL, "over_limit": True}).short
    assert strain_of(Strain(), **{**WELL, "memory_used_bytes": 960}).short
    assert not strain_of(Strain(), **WELL).short
    assert not strain_of(Strain(), over_limit=False, memory_used_bytes=0, memory_total_bytes=0).short


def test_the_more_a_board_suffers_the_less_waits() -> None:
    waiting = [
        ease(strain).waiting
        for strain in (Strain(), Strain(slowed=True), Strain(short=True), Strain(hot=True))
    ]

    assert waiting == sorted(waiting, reverse=True)
    assert waiting[-1] == 0
    assert not ease(Strain(hot=True)).inline
    assert ease(Strain(slowed=True)).rest > 0
