"""Whole roads: a fleet folder, bundles, and boards to flash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.beds.board import bed_key
from tests.beds.fixtures import beds_swept, qemu_boards, sshd_boards, systemd_boards
from tests.journeys.bundles import make_bundle
from tests.journeys.laptop import Laptop

__all__ = ["beds_swept", "qemu_boards", "sshd_boards", "systemd_boards"]

MakeLaptop = Callable[..., Laptop]


@pytest.fixture(scope="module")
def new_laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeLaptop]:
    """Makes fleet folders; `bed=True` gives them the SSH key that every bed lets in. Their collectors end with them."""
    made: list[Laptop] = []

    def make(*, bed: bool = False, **settings: str) -> Laptop:
        laptop = Laptop(tmp_path_factory.mktemp("laptop") / "f", **settings)
        made.append(laptop)
        if bed:
            for suffix in ("", ".pub"):
                shutil.copy(f"{bed_key()}{suffix}", laptop.folder / "keys" / f"ssh{suffix}")
        return laptop

    yield make
    for laptop in made:
        laptop.does("collect", "stop")


def publish_three(laptop: Laptop, work: Path, *, profile: str, model: str) -> None:
    """Releases `digits@1`, `digits@2`, which disagrees with its float model, and `digits@3`, which is good."""
    for number in (1, 2, 3):
        bundle = make_bundle(
            work / f"bundle-{number}", profile=profile, model=model, mark=str(number), disagrees=number == 2
        )
        forced = ("--force",) if number == 2 else ()
        laptop.does("publish", "digits", str(bundle), *forced)


@pytest.fixture(scope="module")
def sims(new_laptop: MakeLaptop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A fleet with three releases for `sim-onnx` boards; each test takes boards of its own from it."""
    laptop = new_laptop()
    publish_three(laptop, tmp_path_factory.mktemp("bundles"), profile="sim-onnx", model="digits.onnx")
    yield laptop
    laptop.does("sim", "down", "--wipe")
