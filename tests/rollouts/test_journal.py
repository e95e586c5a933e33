"""The journal: cut off where a crash tore it, refused where it was changed, whole where the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agent.contract.errors import DocumentInvalid, JournalDamaged, RolloutBusy
from edge.rollouts import journal as journals
from edge.rollouts.journal import FILE, Journal, is_held, read
from edge.rollouts.state import RolloutEvent, RolloutState
from tests.rollouts.paper import plan_of

EVENTS = (RolloutEvent.BEGIN, RolloutEvent.SETTLE, RolloutEvent.PAUSE, RolloutEvent.RESUME)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "digits-4-1"
    with Journal.create(folder, plan_of(("a",), ("b",))) as journal:
        for event in EVENTS:
            journal.append(event)
    return folder


def test_what_was_written_is_read(folder: Path) -> None:
    entries, rollout = read(folder)
    assert [entry.event for entry in entries] == [RolloutEvent.PLAN, *EVENTS]
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert rollout.state is RolloutState.RUNNING
    with Journal.open(folder) as journal:
        assert journal.rollout == rollout


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_torn_last_line_is_cut_off(folder: Path, data: st.DataObject) -> None:
    path = folder / FILE
    whole = path.read_bytes()
    try:
        last = whole.rstrip(b"\n").rindex(b"\n") + 1
        path.write_bytes(whole[: data.draw(st.integers(last, len(whole) - 1))])
        assert read(folder)[1].state is RolloutState.PAUSED
        with Journal.open(folder) as journal:
            journal.append(RolloutEvent.RESUME)
        assert read(folder)[1].state is RolloutState.RUNNING
    finally:
        path.write_bytes(whole)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_found(folder: Path, data: st.DataObject) -> None:
    path = folder / FILE
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 2))
    byte = data.draw(st.integers(0, 255))
    assume(byte != whole[place])
    # the last line has no successor that holds its hash: there a change of a value may still be a line
    assume(place < whole.rstrip(b"\n").rindex(b"\n"))
    try:
        path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        with pytest.raises(JournalDamaged):
            read(folder)
    finally:
        path.write_bytes(whole)


def test_a_line_that_is_gone_or_moved_is_found(folder: Path) -> None:
    path = folder / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in ([lines[0], *lines[2:]], [lines[1], lines[0], *lines[2:]], [*lines, lines[-1]], []):
        path.write_bytes(b"".join(changed))
        with pytest.raises(JournalDamaged, match=str(path)):
            read(folder)


def test_an_entry_that_can_not_follow_is_not_written(folder: Path) -> None:
    before = (folder / FILE).read_bytes()
    with Journal.open(folder) as journal, pytest.raises(DocumentInvalid):
        journal.append(RolloutEvent.ENDED)
    assert (folder / FILE).read_bytes() == before


def test_what_could_not_be_written_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / FILE).read_bytes()
    real = os.write
    with Journal.open(folder) as journal:
        monkeypatch.setattr(journals.os, "write", lambda number, data: half(real, number, data))
        with pytest.raises(OSError, match="no space"):
            journal.append(RolloutEvent.PAUSE)
        monkeypatch.undo()
        assert (folder / FILE).read_bytes() == before
        assert journal.append(RolloutEvent.PAUSE).state is RolloutState.PAUSED
    assert read(folder)[1].state is RolloutState.PAUSED


def half(real: object, number: int, data: bytes) -> int:
    """A disk that is full after half of a line."""
    if len(data) < 60:
        raise OSError(28, "no space left on device")
    return int(real(number, data[: len(data) // 2]))  # type: ignore[operator]


def test_one_command_holds_it(folder: Path) -> None:
    assert not is_held(folder)
    with Journal.open(folder):
        assert is_held(folder)
        with pytest.raises(RolloutBusy), Journal.open(folder):
            pass
        assert read(folder)[1].state is RolloutState.RUNNING, "a look is allowed"


def test_who_follows_sees_each_entry_once_and_ends_with_the_command(folder: Path) -> None:
    with Journal.open(folder) as journal:
        following = journals.follow(folder)
        seen = [next(following) for _ in range(5)]
        journal.append(RolloutEvent.PAUSE)
        seen.append(next(following))
    assert list(following) == []
    assert [entry.number for entry, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1][1].state is RolloutState.PAUSED
