"""The fleet folder is lost: it comes back from a backup, its boards are ahead of it, and the next flash works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.repository import Trust
from tests.journeys.boards import SimBoard
from tests.journeys.bundles import digits, make_bundle
from tests.journeys.laptop import PASSPHRASE, Client, Laptop

pytestmark = [pytest.mark.bed, pytest.mark.timeout(900)]
WORD = {"EDGE_BACKUP_PASSPHRASE": "of the backup alone"}


@pytest.fixture(scope="module")
def boards(sims: Laptop) -> tuple[SimBoard, SimBoard]:
    both = SimBoard.take(sims, 1), SimBoard.take(sims, 2)
    for board in both:
        sims.does("flash", board.name, "digits@1")
    return both


def serves(sims: Laptop, board: SimBoard) -> str:
    return str(sims.reported(board.name)["current"]["models"][0]["release"])


def test_a_folder_comes_back_and_its_boards_go_on(
    sims: Laptop, boards: tuple[SimBoard, SimBoard], tmp_path: Path
) -> None:
    first, second = boards
    file = str(tmp_path / "b.edge")
    assert "[backup.passphrase-missing]" in sims.does("key", "backup", file, code=1).err
    made = sims.does("key", "backup", file, "--with-blobs", **WORD)
    assert "2 boards, 3 releases" in made.err
    assert "is whole" in sims.does("key", "backup", file, "--check", **WORD).err
    refused = sims.does("key", "backup", file, "--check", EDGE_BACKUP_PASSPHRASE="another", code=1)
    assert "[backup.locked]" in refused.err

    for mark in ("lost", "lost-too"):  # digits@4 and digits@5, after the backup
        bundle = make_bundle(tmp_path / mark, profile="sim-onnx", model="digits.onnx", mark=mark)
        sims.does("publish", "digits", str(bundle))
    for release in ("digits@3", "digits@4", "digits@5"):
        sims.does("flash", first.name, release)
    sims.does("flash", second.name, "digits@4")
    second.breaks("unplug")
    shutil.rmtree(sims.folder / "keys")
    (sims.folder / "repository/metadata/timestamp.json").write_bytes(b"{")

    assert "[usage.option-invalid]" in sims.does("key", "restore", file, code=2, **WORD).err
    with Client(first.agent()["port"], digits()[0][1].tolist()) as client:
        restored = sims.does("key", "restore", file, "-y", code=4, **WORD)
    assert client.failed == []
    assert f"{first.name} serves digits@5, which this folder does not know" in restored.err
    assert f"{second.name}: " in restored.err
    assert "[ssh.unreachable]" in restored.err
    assert sims.device(first.name)["counter_seen"] > 1

    flashed = sims.does("flash", first.name, "digits@3")
    assert "it is past them now" not in flashed.err, "the restore was past them already"
    assert serves(sims, first) == "digits@3"
    second.breaks("mend")
    assert sims.does("key", "restore", "--json").json["boards"][1]["problem"] is None
    sims.does("flash", second.name, "digits@3")
    assert serves(sims, second) == "digits@3"


def test_keys_that_were_changed_after_the_backup_need_a_reset_of_trust(
    sims: Laptop, boards: tuple[SimBoard, SimBoard], tmp_path: Path
) -> None:
    board = boards[0]
    file = str(tmp_path / "b.edge")
    sims.does("key", "backup", file, "--with-blobs", **WORD)
    folder = FleetFolder.open(sims.folder)
    Trust(folder.repository, KeyRing(folder.keys), lambda _: PASSPHRASE).rotate("timestamp", "desired")
    sims.does("flash", board.name, "digits@1")
    identity = sims.device(board.name)["public_key"]

    said = sims.does("key", "restore", file, "-y", code=4, **WORD).err
    assert "[board.root-other]" in said
    assert f"edge flash {board.name} RELEASE --reset-trust" in said
    assert "[board.root-other]" in sims.does("flash", board.name, "digits@3", code=1).err
    assert serves(sims, board) == "digits@1"
    with Client(board.agent()["port"], digits()[0][1].tolist()) as client:
        sims.does("flash", board.name, "digits@3", "--reset-trust")
    assert client.failed == []
    assert serves(sims, board) == "digits@3"
    assert sims.device(board.name)["public_key"] == identity
    assert "nothing to do" in sims.does("flash", board.name, "digits@3").err
