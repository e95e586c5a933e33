from __future__ import annotations

from pathlib import Path

import pytest

from agent.contract.errors import DocumentInvalid
from edge.dashboard.source import Source
from tests.dashboard.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "f", ["sim-1"])


def test_a_store_that_is_not_there_yet_is_a_sentence_until_it_is(fleet: Fleet) -> None:
    with Source(fleet.folder) as source:
        before = source.read()
        assert "there is no telemetry yet" in (before.trouble or "")
        assert [row.condition.word for row in before.rows] == ["waiting"]
        with fleet.writer() as store:
            fleet.report(store, "sim-1")
            after = source.read()
    assert (after.trouble, after.rows[0].condition.word) == (None, "ok")


def test_a_torn_store_is_a_sentence_and_one_in_its_place_is_read(fleet: Fleet) -> None:
    with fleet.writer() as store:
        fleet.report(store, "sim-1")
    good = fleet.folder.store.read_bytes()
    with Source(fleet.folder) as source:
        assert source.read().trouble is None
        fleet.folder.store.unlink()
        for left in fleet.folder.store.parent.glob("store.sqlite-*"):
            left.unlink()
        assert "there is no telemetry yet" in (source.read().trouble or "")
        fleet.folder.store.write_bytes(b"\0" * 4096 + good[4096:])
        assert "can't be used" in (source.read().trouble or "")
        fleet.folder.store.unlink()
        with fleet.writer() as store:
            fleet.report(store, "sim-1")
            assert source.read().trouble is None


def test_boards_that_come_and_go_in_the_inventory_are_seen(fleet: Fleet) -> None:
    with Source(fleet.folder) as source:
        assert [row.name for row in source.read().rows] == ["sim-1"]
        fleet.add("sim-0", enrolled=False)
        assert [row.name for row in source.read().rows] == ["sim-0", "sim-1"]
        assert source.read().rows[0].condition.word == "not flashed"
        (fleet.folder.devices / "sim-1.json").unlink()
        assert [row.name for row in source.read().rows] == ["sim-0"]


def test_a_damaged_file_of_the_inventory_is_named(fleet: Fleet) -> None:
    (fleet.folder.devices / "sim-2.json").write_text("{")
    with Source(fleet.folder) as source, pytest.raises(DocumentInvalid, match=r"sim-2\.json"):
        source.read()


def test_a_collector_that_does_not_run_is_told(fleet: Fleet) -> None:
    with Source(fleet.folder) as source:
        assert source.read().collected is False
