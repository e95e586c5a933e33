from __future__ import annotations

import json
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edge import durable
from edge.collector.control import LONGEST_BYTES, Control, ask
from edge.collector.members import Members
from edge.config import FleetFolder
from edge.inventory import Inventory
from tests.collector.fleets import add_device

ONE, TWO = "b-0000000000000001", "b-0000000000000002"


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    folder = FleetFolder.create(tmp_path / "f", "demo")
    add_device(folder, "one", ONE)
    return folder


def test_the_inventory_is_followed(fleet: FleetFolder) -> None:
    members = Members(fleet)
    assert members.refresh()
    assert not members.refresh()
    add_device(fleet, "two", TWO)
    assert members.known(TWO) is None
    assert members.refresh()
    assert members.known(TWO) is not None
    Inventory(fleet).remove("one")
    assert members.refresh()
    assert members.known(ONE) is None


def test_a_board_is_reached_when_it_was_flashed(fleet: FleetFolder) -> None:
    members = Members(fleet)
    members.refresh()
    assert not members.enrolled
    Inventory(fleet).update("one", lambda device: replace(device, public_key="ab" * 32))
    assert members.refresh()
    assert list(members.enrolled) == [ONE]


def test_a_damaged_file_leaves_what_was_known(fleet: FleetFolder, caplog: pytest.LogCaptureFixture) -> None:
    members = Members(fleet)
    members.refresh()
    durable.write(fleet.devices / "one.json", b"{")
    assert not members.refresh()
    assert not members.refresh()
    assert members.known(ONE) is not None
    assert len([record for record in caplog.records if "one.json" in record.message]) == 1


def test_the_control_socket_answers_its_user_and_goes_without_a_trace() -> None:
    with Control({"double": lambda asked: {"is": asked["what"] * 2}}) as control:
        assert ask(control.path, {"do": "double", "what": 21}) == {"is": 42}
        assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(control.path.parent.stat().st_mode) == 0o700
    assert not control.path.parent.exists()
    assert ask(control.path, {"do": "double"}) is None


def test_a_socket_that_somebody_tidied_away_is_noticed() -> None:
    with Control({"ping": lambda _: {}}) as control:
        assert control.reachable
        control.path.unlink()
        assert not control.reachable


def test_what_is_no_json_is_an_answer_that_failed() -> None:
    with Control({"odd": lambda _: object(), "ping": lambda _: {}}) as control:
        answer = ask(control.path, {"do": "odd"})
        assert answer is not None
        assert "TypeError" in answer["error"]
        assert ask(control.path, {"do": "ping"}) == {}
        assert control.reachable


@pytest.mark.parametrize("said", [b"", b"\xff\n", b"[]\n", b'{"do":"nothing"}\n', b"x" * (LONGEST_BYTES + 1)])
def test_nonsense_on_the_control_socket_is_answered_and_the_next_caller_too(said: bytes) -> None:
    with Control({"ping": lambda _: {}}) as control:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(control.path))
            caller.sendall(said)
            caller.shutdown(socket.SHUT_WR)
            assert "error" in json.loads(caller.makefile().readline())
        assert ask(control.path, {"do": "ping"}) == {}


def test_an_answer_that_fails_says_so_and_the_collector_goes_on() -> None:
    def fail(_: object) -> object:
        raise RuntimeError("a fault of ours")

    with Control({"fail": fail, "ping": lambda _: {}}) as control:
        assert ask(control.path, {"do": "fail"}) == {"error": "RuntimeError: a fault of ours"}
        assert ask(control.path, {"do": "ping"}) == {}
