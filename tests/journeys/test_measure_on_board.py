"""`edge convert --measure-on BOARD`, as a user types it, on a board behind real sshd; and nothing is left there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from agent.contract.manifest import EngineName
from edge.config import FleetFolder
from edge.inventory import Inventory
from tests.beds.sshd import SshdBoard
from tests.fleet.board_folder import make_board_folder, tree
from tests.fleet.known_board import workspace_with
from tests.journeys.bundles import MODELS, digits
from tests.journeys.conftest import MakeLaptop
from tests.journeys.laptop import Laptop

pytestmark = [pytest.mark.bed, pytest.mark.timeout(900)]
CONVERT = (
    *("convert", str(MODELS / "digits.onnx"), "--for", "sim-onnx", "--eval", "held-out.npz", "--recipe", "as-is"),
    *("--max-drop", "5", "-o", "out", "--json", "--measure-on", "pi"),
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A laptop and its board."""

    laptop: Laptop
    bed: SshdBoard

    def board(self) -> dict[str, tuple[int, bytes]]:
        """Everything in the home folder there, and in its temporary folder."""
        found = tree(self.bed.home)
        if not self.bed.isolated:
            return found
        (inside,) = {Path(f"/proc/{pid}/root/tmp") for pid in self.first()}
        return found | {f"/tmp/{name}": of for name, of in tree(inside).items()}

    def first(self) -> list[int]:
        """The first process of the board."""
        assert self.bed._server is not None
        pid = self.bed._server.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def place(new_laptop: MakeLaptop, beds_swept: None) -> Iterator[Place]:
    laptop = new_laptop(bed=True)
    x, y = digits(300)
    np.savez(laptop.folder / "held-out.npz", x=x, y=y)
    with SshdBoard("measured") as bed:
        if not bed.isolated:
            pytest.skip("the board's temporary folder is this machine's own")
        make_board_folder(bed.home / ".edge", EngineName.ONNXRUNTIME)
        bed.give(bed.home / ".edge")
        workspace_with(FleetFolder.open(laptop.folder), bed.board, name="pi", device_id="0123456789abcdef")
        Inventory(FleetFolder.open(laptop.folder)).update("pi", lambda it: replace(it, profile="sim-onnx"))
        yield Place(laptop, bed)


def test_a_conversion_tells_what_the_board_showed(place: Place) -> None:
    before = place.board()

    (result,) = place.laptop.does(*CONVERT, seconds=600).json["results"]

    board = result["board"]
    assert board["engine"] == "onnxruntime"
    assert board["platform"].endswith(", on pi")
    assert 0 < board["p50_ms"] <= board["p95_ms"]
    assert board["peak_memory_mb"] > 10
    assert result["verdict"] == "within"
    assert place.board() == before


def test_ctrl_c_ends_it_there_and_here(place: Place) -> None:
    before = place.board()
    process = place.laptop.start(*CONVERT)
    while place.board() == before:
        assert process.poll() is None
        time.sleep(0.01)

    os.killpg(process.pid, signal.SIGINT)

    _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert place.board() == before


def test_a_board_that_can_not_be_measured_is_said_before_anything_is_converted(place: Place) -> None:
    inventory = Inventory(FleetFolder.open(place.laptop.folder))
    other = place.laptop.edge(*[word.replace("sim-onnx", "sim-tflite") for word in CONVERT])
    inventory.update("pi", lambda it: replace(it, root=None))
    try:
        bare = place.laptop.edge(*CONVERT)
    finally:
        inventory.update("pi", lambda it: replace(it, root="~/.edge"))

    assert (other.code, bare.code) == (2, 1)
    assert "it is a `sim-onnx`, and --for names sim-tflite" in other.err
    assert "`pi` has no agent yet" in bare.err
