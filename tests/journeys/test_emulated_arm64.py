"""An emulated arm64 board without internet, pip or compiler: flashed, heard over power cuts, refused, replaced, wiped.

Right for correctness, useless for speed: deadlines are those of a machine some hundred times slower.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from agent.link.outbox import SYNC_S
from tests.beds.board import ssh_argv
from tests.beds.fixtures import MakeQemu
from tests.beds.qemu_board import QemuBoard
from tests.journeys.arrivals import all_streams, arrive, boots, first_sample, nothing_is_missing, way
from tests.journeys.bundles import digits, make_bundle
from tests.journeys.conftest import MakeLaptop
from tests.journeys.laptop import Ended, Laptop, wait_until

pytestmark = [pytest.mark.bed, pytest.mark.timeout(5000)]

SLOW = {
    "probation_s": "10.0",
    "check_timeout_s": "900.0",
    "start_timeout_s": "900.0",
    "connect_timeout_s": "60.0",
    "interval_s": "2.0",
}
BACKLOG_S = 60
KERNELS_CLOCK = "import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256)))"
HARDENING = ("User", "NoNew", "Protect", "Private", "Restrict", "Lock", "SystemCall", "Capability", "Ambient")
MEASURED_S = 60
MODELS = {1: "digits_int8.tflite", 2: "digits_int8.tflite", 3: "digits.tflite"}


def flash(laptop: Laptop, *arguments: str, code: int = 0) -> Ended:
    ended = laptop.does("flash", "emulated", *arguments, code=code, seconds=2400)
    print(f"edge flash {' '.join(arguments)}: {ended.passed_s:.0f} s\n{ended.err}")
    return ended


def on(board: QemuBoard, command: str) -> str:
    done = subprocess.run(ssh_argv(board.board, command), capture_output=True, text=True, timeout=300)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def laptop(new_laptop: MakeLaptop, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    laptop = new_laptop(bed=True, **SLOW)
    tmp_path = tmp_path_factory.mktemp("bundles")
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


@pytest.fixture(scope="module")
def board(laptop: Laptop, qemu_boards: MakeQemu) -> QemuBoard:
    """A board that was bare and has `digits@1` now; the tests below follow each other on it."""
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
    return board


def test_it_reports_again_after_power_cuts_and_nothing_is_missing(laptop: Laptop, board: QemuBoard) -> None:
    arrive(laptop, 5, seconds=300)
    assert way(laptop, "emulated")["tunnel"] == "up"
    the_kernel_tells_a_hardened_service_of_its_clock(board)
    what_it_costs(laptop, board)
    board.power_cut()
    reports_again(laptop, board)

    laptop.does("collect", "stop")
    kept = all_streams(laptop)
    time.sleep(BACKLOG_S)
    board.power_cut()
    laptop.does("collect")
    reports_again(laptop, board)
    before = {stream.boot: stream.samples for stream in kept}
    came = {s.boot: s.samples - before[s.boot] for s in all_streams(laptop) if s.boot in before}
    print(f"of {BACKLOG_S} s in which nobody collected, {sum(came.values())} samples survived the cut")
    assert sum(came.values()) >= (BACKLOG_S - SYNC_S) / float(SLOW["interval_s"]) * 0.7


def the_kernel_tells_a_hardened_service_of_its_clock(board: QemuBoard) -> None:
    """Asked as by the agent: it may answer that the clock is not right (5), never that asking is forbidden."""
    unit = on(board, "cat /etc/systemd/system/edge-agent.service").splitlines()
    hardened = [f"-p {shlex.quote(line)}" for line in unit if line.startswith(HARDENING)]
    assert len(hardened) > 15
    asked = f"systemd-run -q --wait --pipe {' '.join(hardened)} python3 -c {shlex.quote(KERNELS_CLOCK)}"
    assert 0 <= int(on(board, f"sudo {asked}")) <= 5


def what_it_costs(laptop: Laptop, board: QemuBoard) -> None:
    """CPU time of the agent's threads, with the link at work and without; nobody asks the model anything."""
    before, began = sum(stream.samples for stream in all_streams(laptop)), time.monotonic()
    working = cpu_ms(board, MEASURED_S)
    samples = sum(stream.samples for stream in all_streams(laptop)) - before
    print(f"{samples} samples in {time.monotonic() - began:.0f} s; CPU of the agent's threads {working} ms")
    on(board, "mv /opt/edge/link/link.json /opt/edge/link/away")
    time.sleep(5)
    print(f"without the link {cpu_ms(board, MEASURED_S)} ms")
    on(board, "mv /opt/edge/link/away /opt/edge/link/link.json")
    arrive(laptop, 2, seconds=300)


def cpu_ms(board: QemuBoard, seconds: int) -> dict[str, int]:
    """What each of the agent's threads took in that time, in milliseconds; the kernel counts in nanoseconds."""
    threads = "/proc/$(systemctl show -P MainPID edge-agent.service)/task/*/schedstat"
    first, last = on(board, f"grep . {threads}; sleep {seconds}; echo; grep . {threads}").split("\n\n")
    then = dict(line.split()[0].split(":") for line in first.splitlines())
    now = dict(line.split()[0].split(":") for line in last.splitlines())
    return {
        name.split("/")[-2]: (int(taken) - int(then[name])) // 1_000_000
        for name, taken in now.items()
        if name in then
    }


def reports_again(laptop: Laptop, board: QemuBoard) -> None:
    heard, began = boots(laptop), time.time()
    login_s = board.boot()
    (boot,) = wait_until(lambda: boots(laptop) - heard, "another start is heard of", seconds=600)
    first = wait_until(lambda: first_sample(laptop, boot), "its first sample", seconds=300)
    took = f"first sample measured after {first.at - began:.0f} s, stored after {first.rx - began:.0f} s"
    print(f"power to login {login_s:.0f} s, {took}")
    arrive(laptop, 5, seconds=300)
    assert way(laptop, "emulated")["tunnel"] == "up"
    given = nothing_is_missing(laptop, lambda command: on(board, f"sudo {command}"), seconds=300)
    assert boot in given
    stored = {stream.boot: stream.high_water for stream in all_streams(laptop)}
    for start, number in given.items():
        print(f"start {start}: {number} by the board, {stored[start]} by the store")


def answers(laptop: Laptop, folder: Path) -> None:
    samples, truths = digits()
    np.save(folder / "one.npy", samples[1])
    answered = laptop.does("infer", "emulated", str(folder / "one.npy"), "--json", seconds=300).json
    print(f"edge infer: {answered['seconds']:.2f} s")
    assert answered["answers"][0]["label"] == str(truths[1])


def test_the_road_of_an_emulated_board(laptop: Laptop, board: QemuBoard, tmp_path: Path) -> None:
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
    arrive(laptop, 2, seconds=300)
    nothing_is_missing(laptop, lambda command: on(board, f"sudo {command}"), seconds=300)

    assert "emulated runs digits@1" in flash(laptop, "--previous").err
    answers(laptop, tmp_path)

    wiped = laptop.does("device", "remove", "emulated", "--wipe", "-y", seconds=600)
    print(f"edge device remove --wipe: {wiped.passed_s:.0f} s")
    assert (
        on(board, "ls -d /opt/edge /etc/systemd/system/edge-*; getent passwd edge; pgrep -f launch.py") == ""
    )
