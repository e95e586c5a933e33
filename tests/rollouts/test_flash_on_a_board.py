"""What a flash must see, on one simulated board: whose it is, who else is at work, and what it did not take."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.rollouts.workspace import Workspace
from edge.telemetry import query
from edge.telemetry.store import Store
from tests.journeys.boards import SimBoard
from tests.journeys.bundles import digits, make_bundle
from tests.journeys.laptop import PASSPHRASE, Client, Laptop, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    work = tmp_path_factory.mktemp("board")
    laptop = Laptop(work / "f")
    for mark in ("1", "2"):
        bundle = make_bundle(work / mark, profile="sim-onnx", model="digits.onnx", mark=mark)
        laptop.does("publish", "digits", str(bundle))
    bundle = make_bundle(work / "lite", profile="sim-onnx", model="digits.tflite", mark="lite")
    laptop.does("publish", "lite", str(bundle))
    yield laptop
    laptop.does("collect", "stop")
    laptop.does("sim", "down", "--wipe")


@pytest.fixture(scope="module")
def board(laptop: Laptop) -> SimBoard:
    board = SimBoard.take(laptop, 1)
    laptop.does("flash", board.name, "digits@1")
    return board


def inventory(laptop: Laptop) -> Inventory:
    return Inventory(FleetFolder.open(laptop.folder))


def test_a_board_is_added_once(laptop: Laptop, board: SimBoard) -> None:
    address = f"{board.plan.user}@127.0.0.1:{board.plan.port}"
    again = laptop.does("device", "add", address, "--name", "other", "-y", code=2)
    assert f"in this fleet already, as `{board.name}` [device.same]" in again.err
    taken = laptop.does("device", "add", address, "--name", board.name, "-y", code=2)
    assert "[device.exists]" in taken.err
    unasked = laptop.does("device", "add", board.name, "--replace-key", code=2)
    assert "SHA256:" in unasked.err
    before = laptop.device(board.name)
    laptop.does("device", "add", board.name, "--replace-key", "-y")
    assert laptop.device(board.name) == before, "the same key again changes nothing"


def test_one_command_at_a_time(laptop: Laptop, board: SimBoard) -> None:
    with inventory(laptop).hold(board.name):
        for command in (("flash", board.name, "digits@2"), ("device", "remove", board.name, "-y")):
            assert "[device.busy]" in laptop.does(*command, code=4).err
        assert laptop.reported(board.name)["counter"] == 1, "a look is allowed"


def test_a_board_shows_what_runs_how_it_was_verified_and_its_disk_clock_and_keys(
    laptop: Laptop, board: SimBoard
) -> None:
    reported = laptop.reported(board.name)
    roles = {role["role"]: role for role in reported["trust"]}
    assert {"root", "timestamp", "snapshot", "targets", "desired"} < set(roles)
    assert len(roles) == 6, "and its own bin"
    assert all(role["version"] >= 1 and role["expires"] > time.time() for role in roles.values())
    assert abs(reported["contact"] - time.time()) < 600
    assert reported["disk_total_bytes"] > reported["disk_free_bytes"] > 0
    assert reported["objects_bytes"] > 1_000_000
    assert reported["history"][0]["checks"] == reported["checks"]
    assert (reported["history"][0]["attempts"], reported["history"][0]["max_attempts"]) == (1, 3)
    shown = laptop.does("device", "show", board.name)
    words = (
        "tuf root 1, targets",
        "attempts    1 of 3",
        "timestamp",
        "d left)",
        "the board knows this folder's newest",
    )
    assert [word for word in words if word not in shown.out] == []
    assert "\x1b" not in shown.out, "no colour where nobody looks"
    told = laptop.does("device", "history", board.name).out
    assert "confirmed: nothing → digits@1" in told
    command = [sys.executable, "-I", str(board.root / "bin" / "launch.py"), "status"]
    own = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "runs      digits@1 (generation 1)" in own
    assert "confirmed, desired state 1" in own


def test_a_refresh_is_a_contact_and_touches_nothing_that_runs(laptop: Laptop, board: SimBoard) -> None:
    before, agent = laptop.reported(board.name), board.agent()
    assert "newly signed" in laptop.does("device", "refresh", board.name).err
    after = laptop.reported(board.name)
    assert timestamp(after) > timestamp(before)
    assert after["contact"] >= before["contact"]
    assert (after["counter"], after["state"], after["current"]) == (
        before["counter"], before["state"], before["current"],
    )  # fmt: skip
    assert board.agent()["boot"] == agent["boot"]
    assert "[usage.option-invalid]" in laptop.does("device", "refresh", code=2).err
    assert laptop.does("device", "refresh", "--all", "--json").json[0]["error"] is None


def test_a_board_that_is_away_is_shown_as_it_was_heard_of_last(laptop: Laptop, board: SimBoard) -> None:
    store = FleetFolder.open(laptop.folder).store
    device_id = laptop.device(board.name)["device_id"]

    def stored() -> bool:
        if not store.exists():
            return False
        with Store.open(store) as opened:
            return query.report(opened, device_id) is not None

    wait_until(stored, "the collector has its report")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        here = inventory(laptop).get(board.name)
        inventory(laptop).update(board.name, lambda device: replace(device, port=nobody.getsockname()[1]))
        shown = laptop.does("device", "show", board.name, code=4)
        plain = laptop.does("device", "show", board.name, "--json", code=4).json
        not_reached = laptop.does("device", "refresh", board.name, code=4)
        inventory(laptop).update(board.name, lambda device: replace(device, port=here.port))
    assert "the last known, heard" in shown.out
    assert "digits@1 (generation 1)" in shown.out
    assert "[ssh.unreachable]" in shown.out
    assert plain["last_known"]["error"]["code"] == "ssh.unreachable"
    assert plain["reported"]["current"]["number"] == 1
    assert "[ssh.unreachable]" in not_reached.err


def timestamp(reported: dict[str, Any]) -> int:
    return next(int(role["version"]) for role in reported["trust"] if role["role"] == "timestamp")


def test_a_model_that_needs_another_engine_is_refused_before_anything_is_sent(
    laptop: Laptop, board: SimBoard
) -> None:
    refused = laptop.does("flash", board.name, "lite@1", code=1)
    assert "which `sim-1` serves already" in refused.err
    assert "[release.models-apart]" in refused.err
    assert "--only" in refused.err
    assert board.links() == {"current": 1}


def test_what_a_board_did_not_take_is_no_success(laptop: Laptop, board: SimBoard, tmp_path: Path) -> None:
    """The laptop's repository comes back from a backup: the board has seen newer signatures."""
    repository = laptop.folder / "repository"
    workspace = Workspace(FleetFolder.open(laptop.folder), lambda _: PASSPHRASE)
    shutil.copytree(repository, tmp_path / "backup", symlinks=True)
    for _ in range(2):
        workspace.repository.refresh(force=True)
    assert laptop.does("flash", board.name, "digits@2", "--json").json["state"] == "confirmed"
    shutil.rmtree(repository)
    shutil.copytree(tmp_path / "backup", repository, symlinks=True)
    refused = laptop.does("flash", board.name, "digits@1", "--json", code=3).json
    assert (refused["taken"], refused["state"]) == (False, "refused")
    assert refused["reported"]["code"] == "artifact.replay-refused"
    assert refused["reported"]["current"]["models"][0]["release"] == "digits@2"
    for _ in range(3):
        workspace.repository.refresh(force=True)
    assert laptop.does("flash", board.name, "digits@1", "--json").json["changed"]


def test_a_board_that_was_forgotten_is_taken_in_again(laptop: Laptop, board: SimBoard) -> None:
    before = laptop.device(board.name)
    assert "goes on there" in laptop.does("device", "remove", board.name, "-y").err
    SimBoard.take(laptop, 1)
    assert laptop.device(board.name)["device_id"] != before["device_id"]
    assert "[board.not-flashed]" in laptop.does("flash", board.name, "--previous", code=1).err
    assert "takes it in" in laptop.does("doctor", board.name).err
    agent = board.agent()
    assert "nothing to do" in laptop.does("flash", board.name, "digits@1").err
    assert board.agent()["boot"] == agent["boot"], "what serves was not touched"
    after = laptop.device(board.name)
    assert (after["device_id"], after["public_key"]) == (before["device_id"], before["public_key"])


def test_another_fleets_board_is_left_alone(laptop: Laptop, board: SimBoard, tmp_path: Path) -> None:
    stranger = Laptop(tmp_path / "stranger")
    for suffix in ("", ".pub"):
        shutil.copy(laptop.folder / "keys" / f"ssh{suffix}", stranger.folder / "keys" / f"ssh{suffix}")
    bundle = make_bundle(tmp_path / "bundle", profile="sim-onnx", model="digits.onnx", mark="stranger")
    stranger.does("publish", "digits", str(bundle))
    stranger.does(
        "device", "add", f"{board.plan.user}@127.0.0.1:{board.plan.port}", "--name", board.name, "-y"
    )
    for command in (("flash", board.name, "digits@1"), ("device", "remove", board.name, "--wipe", "-y")):
        refused = stranger.does(*command, code=1)
        assert "[board.foreign]" in refused.err
        assert "--adopt" in refused.err
    assert "it belongs to the fleet" in stranger.does("doctor", board.name, code=1).err
    assert board.serves()


def test_a_board_gets_a_new_identity(laptop: Laptop, board: SimBoard) -> None:
    before = laptop.device(board.name)
    laptop.does("flash", board.name, "digits@1", "--re-enrol")
    after = laptop.device(board.name)
    assert before["device_id"] != after["device_id"]
    assert before["public_key"] != after["public_key"]
    assert laptop.reported(board.name)["device"] == after["device_id"]
    assert board.serves()
