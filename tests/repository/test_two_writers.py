from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.contract.errors import FleetFolderBusy
from edge.config import lock
from edge.repository import Repository
from tests.house.tree import ROOT
from tests.repository.board import Board
from tests.repository.fleet import Fleet

PUBLISH = """
import sys
from pathlib import Path
from edge.identity import KeyRing
from edge.repository import Repository
from tests.repository.fleet import make_bundle, passphrase
fleet, work, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
keys = KeyRing(fleet / "keys")
repository = Repository.open(fleet / "repository", keys, passphrase)
keys.signer("targets", passphrase)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(4):
    bundle = make_bundle(work / f"{number}-{turn}", weights=f"{number} {turn}".encode())
    print(repository.publish("digits", [bundle]).title, flush=True)
"""


def test_two_processes_that_publish_at_once_take_turns(fleet: Fleet, tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISH, fleet.folder.path, tmp_path, str(number)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    published = []
    with ThreadPoolExecutor(2) as pool:
        for output, _ in pool.map(lambda child: child.communicate("go\n"), children):
            published += output.split()
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(published) == [f"digits@{version}" for version in range(2, 10)]
    releases = fleet.repository.releases()
    assert len({release.bundles["raspberry-pi-5"] for release in releases}) == 9
    fleet.repository.assign(fleet.desired("b-1", 1, releases[-1]))
    board = Board(tmp_path / "board", "b-1")
    board.receive(fleet.repository.push_set("b-1"))
    board.apply()


def test_many_threads_of_one_command_take_turns(fleet: Fleet) -> None:
    devices = [f"b-{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda device: fleet.repository.assign(fleet.desired(device)), devices))
    assert all(fleet.repository.desired(device) for device in devices)


def test_who_waits_too_long_is_told_that_the_folder_is_busy(fleet: Fleet) -> None:
    with (
        lock(fleet.folder.repository),
        pytest.raises(FleetFolderBusy),
        lock(fleet.folder.repository, wait_s=0.1),
    ):
        pass
    with lock(fleet.folder.repository, wait_s=0.0):
        pass


def test_a_lock_is_waited_for(fleet: Fleet) -> None:
    held = threading.Event()

    def hold() -> None:
        with lock(fleet.folder.repository):
            held.set()
            threading.Event().wait(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    fleet.repository.assign(fleet.desired("b-1"))
    holder.join()


def test_what_reads_does_not_wait_for_what_writes(fleet: Fleet) -> None:
    with lock(fleet.folder.repository):
        assert Repository.open(fleet.folder.repository, fleet.keys).releases() == (fleet.release,)
