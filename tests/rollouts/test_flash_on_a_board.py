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

from agent.contract.codec import decode, encode
from agent.contract.messages import Signed
from agent.update.folder import UpdateFolder
from agent.update.identity import sign
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


class OldCopy:
    """The laptop's repository comes back as it was at some moment; its boards went on without it."""

    def __init__(self, laptop: Laptop, board: SimBoard, place: Path) -> None:
        self._repository, self._place = laptop.folder / "repository", place
        self._workspace = Workspace(FleetFolder.open(laptop.folder), lambda _: PASSPHRASE)
        self._device_id = laptop.device(board.name)["device_id"]
        shutil.copytree(self._repository, place, symlinks=True)

    def assign(self, *device_ids: str) -> None:
        """Sign what the board is asked for once more, for it or for others."""
        repository = self._workspace.repository
        last = repository.desired(self._device_id)
        assert last is not None
        for device_id in device_ids or (self._device_id,):
            counter = repository.next_counter(device_id)
            generation = replace(last.generation, number=counter)
            repository.assign(replace(last, device=device_id, counter=counter, generation=generation))

    def comes_back(self) -> None:
        shutil.rmtree(self._repository)
        shutil.copytree(self._place, self._repository, symlinks=True)


def test_an_old_copy_of_the_folder_goes_past_what_the_board_has_seen(
    laptop: Laptop, board: SimBoard, tmp_path: Path
) -> None:
    old = OldCopy(laptop, board, tmp_path / "old")
    for release in ("digits@2", "digits@1"):
        assert laptop.does("flash", board.name, release, "--json").json["state"] == "confirmed"
    old.comes_back()
    assert f"{board.name}: trust: it has seen timestamp" in laptop.does("doctor", board.name).err
    flashed = laptop.does("flash", board.name, "digits@2")
    assert "it is past them now" in flashed.err
    assert f"{board.name} runs digits@2" in flashed.err


def test_what_a_board_did_not_take_is_no_success_and_a_restore_goes_past_all_bins(
    laptop: Laptop, board: SimBoard, tmp_path: Path
) -> None:
    """The board saw newer bins of other boards; it does not report those, and takes no older ones."""
    old = OldCopy(laptop, board, tmp_path / "old")
    old.assign(*(f"b-{number}" for number in range(20)))
    assert laptop.does("flash", board.name, "digits@1", "--json").json["state"] == "confirmed"
    old.comes_back()
    for _ in range(30):
        old.assign()
    refused = laptop.does("flash", board.name, "digits@2", "--json", code=3).json
    assert (refused["taken"], refused["state"]) == (False, "refused")
    assert refused["reported"]["code"] == "artifact.replay-refused"
    assert "edge key restore" in refused["reported"]["hint"]
    assert refused["reported"]["current"]["models"][0]["release"] == "digits@1"
    assert f"{board.name} has seen nothing newer" in laptop.does("key", "restore").err
    assert laptop.does("flash", board.name, "digits@1", "--json").json["changed"]


def test_a_hostile_board_is_named_and_drags_no_fleet_along(laptop: Laptop, board: SimBoard) -> None:
    file = board.root / "state/reported.json"
    whole = file.read_bytes()
    envelope = decode(Signed, whole)
    absurd = {"role": "timestamp", "version": 1 << 63, "expires": 0}
    payload = json.dumps(json.loads(envelope.payload) | {"trust": [absurd]})
    forged = sign(UpdateFolder(board.root), device=envelope.device, counter=envelope.counter, payload=payload)
    file.write_bytes(encode(forged))
    try:
        said = laptop.does("key", "restore", code=4).err
        assert "[repository.versions-absurd]" in said
        assert f"--believe {board.name}" in said
        assert f"{board.name}: trust: " in laptop.does("doctor", board.name, code=1).err
        assert "[repository.versions-absurd]" in laptop.does("flash", board.name, "digits@2", code=4).err
    finally:
        file.write_bytes(whole)
    repository = Workspace(FleetFolder.open(laptop.folder), lambda _: PASSPHRASE).repository
    version = repository.versions(envelope.device)["timestamp"]
    assert version < 10_000


@pytest.mark.bed
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


@pytest.mark.bed
def test_the_board_of_a_lost_fleet_serves_until_the_new_fleets_release_does(
    laptop: Laptop, board: SimBoard, tmp_path: Path
) -> None:
    anew = Laptop(tmp_path / "anew")
    for suffix in ("", ".pub"):  # the user lets the new fleet's key in, as for any board
        shutil.copy(laptop.folder / "keys" / f"ssh{suffix}", anew.folder / "keys" / f"ssh{suffix}")
    anew.does(
        "publish",
        "digits",
        str(make_bundle(tmp_path / "bundle", profile="sim-onnx", model="digits.onnx", mark="anew")),
    )
    anew.does("device", "add", f"{board.plan.user}@127.0.0.1:{board.plan.port}", "--name", "kept", "-y")
    refused = anew.does("flash", "kept", "digits@1", code=1)
    assert "--reset-trust" in refused.err
    assert (
        "[usage.option-invalid]"
        in anew.does("flash", "kept", "digits@1", "--reset-trust", "--adopt", code=2).err
    )
    before = laptop.device(board.name)
    sample = digits()[0][1]
    with Client(board.agent()["port"], sample.tolist()) as client:
        anew.does("flash", "kept", "digits@1", "--reset-trust")
    assert client.failed == []
    assert client.answered > 20
    after = anew.device("kept")
    assert after["device_id"] != before["device_id"]
    assert after["public_key"] != before["public_key"]
    assert anew.reported("kept")["verified"].startswith("tuf root 1")
    assert "belongs to the fleet" in laptop.does("flash", board.name, "digits@1", code=1).err
    laptop.does("flash", board.name, "digits@1", "--reset-trust")
    anew.does("collect", "stop")


@pytest.mark.bed
def test_a_board_gets_a_new_identity(laptop: Laptop, board: SimBoard) -> None:
    before = laptop.device(board.name)
    laptop.does("flash", board.name, "digits@1", "--re-enrol")
    after = laptop.device(board.name)
    assert before["device_id"] != after["device_id"]
    assert before["public_key"] != after["public_key"]
    assert laptop.reported(board.name)["device"] == after["device_id"]
    assert board.serves()


@pytest.mark.bed
def test_a_challenger_answers_its_share_without_a_gap_until_another_version_is_flashed(
    laptop: Laptop, board: SimBoard
) -> None:
    laptop.does("flash", board.name, "digits@1")
    boot = board.agent()["boot"]
    refused = laptop.does("flash", board.name, "digits@1", "--shadow", code=2)
    assert "[release.no-primary]" in refused.err
    with Client(board.agent()["port"], digits(1)[0][0].tolist()) as client:
        laptop.does("flash", board.name, "digits@2", "--challenger", "50")
        wait_until(lambda: len(client.versions) >= 4, "both versions answer")
        shared = laptop.reported(board.name)["current"]["models"]
        laptop.does("flash", board.name, "digits@2")
        wait_until(lambda: client.versions[-1] == "2", "the new version answers alone")

    assert client.failed == []
    assert [(model["release"], model["role"], model["share"]) for model in shared] == [
        ("digits@1", "primary", 100),
        ("digits@2", "challenger", 50),
    ]
    assert [model["release"] for model in laptop.reported(board.name)["current"]["models"]] == ["digits@2"]
    assert board.agent()["boot"] == boot, "exchanged in the process that serves"
