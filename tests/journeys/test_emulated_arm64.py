"""An emulated arm64 board without internet, pip or compiler: flashed, refused, replaced over a power cut, wiped.

Right for correctness, useless for speed: deadlines are those of a machine some hundred times slower.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.beds.board import ssh_argv
from tests.beds.fixtures import MakeQemu
from tests.beds.qemu_board import QemuBoard
from tests.journeys.bundles import digits, make_bundle
from tests.journeys.conftest import MakeLaptop
from tests.journeys.laptop import Ended, Laptop, wait_until

pytestmark = [pytest.mark.bed, pytest.mark.timeout(5000)]

SLOW = {
    "probation_s": "10.0",
    "check_timeout_s": "900.0",
    "start_timeout_s": "900.0",
    "connect_timeout_s": "60.0",
}
MODELS = {1: "digits_int8.tflite", 2: "digits_int8.tflite", 3: "digits.tflite"}


@pytest.fixture
def laptop(new_laptop: MakeLaptop, tmp_path: Path) -> Laptop:
    laptop = new_laptop(bed=True, **SLOW)
    for number, model in MODELS.items():
        bundle = make_bundle(
            tmp_path / f"bundle-{number}",
            profile="emulated-arm64",
            model=model,
            mark=str(number),
            disagrees=number == 2,
        )
        # The emulator's speed changes with whatever else this machine does
        laptop.does("publish", "digits", str(bundle), "--budget", "p95_ms=5000", "--force")
    return laptop


def flash(laptop: Laptop, *arguments: str, code: int = 0) -> Ended:
    ended = laptop.does("flash", "emulated", *arguments, code=code, seconds=2400)
    print(f"edge flash {' '.join(arguments)}: {ended.passed_s:.0f} s\n{ended.err}")
    return ended


def on(board: QemuBoard, command: str) -> str:
    done = subprocess.run(ssh_argv(board.board, command), capture_output=True, text=True, timeout=300)
    return done.stdout.strip()


def answers(laptop: Laptop, folder: Path) -> None:
    samples, truths = digits()
    np.save(folder / "one.npy", samples[1])
    answered = laptop.does("infer", "emulated", str(folder / "one.npy"), "--json", seconds=300).json
    print(f"edge infer: {answered['seconds']:.2f} s")
    assert answered["answers"][0]["label"] == str(truths[1])


def test_the_road_of_an_emulated_board(laptop: Laptop, qemu_boards: MakeQemu, tmp_path: Path) -> None:
    board = qemu_boards("road")
    address = f"pi@127.0.0.1:{board.board.port}"
    laptop.does("device", "add", address, "--name", "emulated", "-y", seconds=300)
    has = "for p in pip pip3 gcc cc curl; do command -v $p; done; python3 -m pip --version; ip route | grep default"
    assert on(board, has) == ""

    first = flash(laptop, "digits@1")
    assert "aarch64" in first.err
    assert "litert" in first.err
    assert "kept running by systemd" in first.err
    assert laptop.device("emulated")["profile"] == "emulated-arm64"
    answers(laptop, tmp_path)

    refused = flash(laptop, "digits@2", code=3)
    assert "[trial.golden-disagrees]" in refused.err
    assert "emulated runs digits@1, as before" in refused.err

    started = laptop.started("flash", "emulated", "digits@3", until="serves in probation", seconds=1500)
    board.power_cut()
    assert started.end(seconds=300).code == 4
    print(f"booted again in {board.boot():.0f} s")
    wait_until(
        lambda: "generations/3" in on(board, "readlink /opt/edge/current; ls /opt/edge/trial 2>&1"),
        "it carries the trial on and confirms",
        seconds=1500,
    )
    assert "nothing to do" in flash(laptop, "digits@3").err
    answers(laptop, tmp_path)

    assert "emulated runs digits@1" in flash(laptop, "--previous").err
    answers(laptop, tmp_path)

    wiped = laptop.does("device", "remove", "emulated", "--wipe", "-y", seconds=600)
    print(f"edge device remove --wipe: {wiped.passed_s:.0f} s")
    assert (
        on(board, "ls -d /opt/edge /etc/systemd/system/edge-*; getent passwd edge; pgrep -f launch.py") == ""
    )
