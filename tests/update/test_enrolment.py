"""A bare folder becomes a board: the real installer, run out of the agent's layer without any package."""

from __future__ import annotations

import json
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD, BoardConfig
from agent.contract.codec import decode, encode
from agent.contract.runtime import RuntimeManifest
from agent.install.units import units
from agent.processes import start_ticks
from agent.update.folder import UpdateFolder
from tests.update.bare import Bare
from tests.update.bundles import PROFILE
from tests.update.world import DEVICE, Board, Fleet, wait_until


@pytest.fixture
def bare_folder(fleet: Fleet, tmp_path: Path) -> Iterator[Bare]:
    bare = Bare(tmp_path, fleet)
    yield bare
    if (bare.root / "bin/launch.py").exists():
        bare.launch("remove", "--wipe")


def pid(bare: Bare) -> int:
    return int(json.loads((bare.root / "run/supervisor.json").read_bytes())["pid"])


def test_a_bare_board_is_enrolled_flashed_enrolled_again_and_wiped(bare_folder: Bare) -> None:
    enrolment = bare_folder.enrol()
    assert (enrolment.device, enrolment.service, enrolment.persistent) == (DEVICE, SERVICE_SUPERVISOR, False)
    assert enrolment.notes
    root = bare_folder.root
    assert stat.S_IMODE((root / "state/device.key").stat().st_mode) == 0o600
    assert (root / "state/device.pub").read_text().strip() == enrolment.public_key
    assert stat.S_IMODE((root / "mqtt.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "outbox").stat().st_mode) == 0o700
    assert (root / "link").is_dir()
    mqtt_key = load_pem_private_key((root / "mqtt.key").read_bytes(), None)
    told = load_pem_public_key((root / "mqtt.pub").read_bytes())
    assert mqtt_key.public_key() == told
    supervisor = pid(bare_folder)

    board = object.__new__(Board)
    board.__dict__.update(root=root, fleet=bare_folder.fleet, supervisor=None, more_environment={})
    report = board.flash(1, bare_folder.fleet.publish("good"))
    assert report.state.value == "confirmed"

    bare_folder.bring()
    request = bare_folder.request()
    again = bare_folder.enrol(config=replace(request.config, device="d-something-else"))
    assert (again.device, again.public_key) == (DEVICE, enrolment.public_key)
    assert pid(bare_folder) == supervisor
    wait_until(lambda: board.served().get("generation") == 1, "it serves on")

    agent = json.loads((root / "run/agent.json").read_bytes())["pid"]
    done = bare_folder.launch("remove", "--wipe")
    assert done.returncode == 0, done.stderr.decode()
    assert not root.exists()
    assert (start_ticks(supervisor), start_ticks(agent)) == (None, None)


def test_another_fleet_needs_adopt_and_a_copied_card_a_new_enrolment(bare_folder: Bare) -> None:
    first = bare_folder.enrol()
    mqtt_key = (bare_folder.root / "mqtt.pub").read_bytes()
    (bare_folder.root / "link/link.json").write_text("of the earlier life")
    (bare_folder.root / "outbox/outbox.sqlite").write_text("of the earlier life")
    other = replace(bare_folder.request().config, fleet="garden-abcdef", device="d-garden")
    assert "belongs to the fleet" in bare_folder.refused(config=other)
    bare_folder.serial.write_text("simulated-2")
    assert "identity of another board" in bare_folder.refused()
    done = bare_folder.launch("apply")
    assert done.returncode == 3
    assert b"identity of another board" in done.stderr
    copied = replace(bare_folder.request().config, serial="simulated-2", device="d-copy")
    assert "identity of another board" in bare_folder.refused(config=copied)
    second = bare_folder.enrol(config=copied, re_enrol=True)
    assert second.device == "d-copy"
    assert second.public_key != first.public_key
    assert (bare_folder.root / "mqtt.pub").read_bytes() != mqtt_key
    assert not (bare_folder.root / "link/link.json").exists()
    assert list((bare_folder.root / "outbox").iterdir()) == []
    adopted = bare_folder.enrol(config=replace(other, serial="simulated-2"), adopt=True)
    assert (adopted.fleet, adopted.device) == ("garden-abcdef", "d-garden")
    assert adopted.public_key not in (first.public_key, second.public_key)


def test_a_runtime_that_is_not_what_was_promised_is_refused(bare_folder: Bare) -> None:
    fleet = bare_folder.fleet
    manifest = bare_folder.root / "inbox/blobs" / fleet.runtime
    whole = manifest.read_bytes()
    manifest.write_bytes(whole.replace(b"0.1.0", b"0.1.9"))
    assert "does not match its manifest" in bare_folder.refused()
    bare_folder.bring()
    layer = bare_folder.root / "inbox/blobs" / fleet.packages.sha256
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 1
    layer.write_bytes(data)
    assert "does not match its manifest" in bare_folder.refused()
    assert not layer.exists(), "a bad blob is sent again"
    assert "are not on the board" in bare_folder.refused()
    bare_folder.bring()
    assert bare_folder.enrol().device == DEVICE


def test_a_runtime_for_another_platform_is_refused_before_anything_is_written(bare_folder: Bare) -> None:
    runtime = decode(RuntimeManifest, bare_folder.fleet.runtime_bytes)
    other = replace(runtime, platform=replace(runtime.platform, architecture="riscv64"))
    data = encode(other)
    digest = bare_folder.fleet.blobs.write(data)
    bare_folder.bring()
    assert "riscv64" in bare_folder.refused(runtime=other, runtime_digest=digest)
    assert not (bare_folder.root / "objects").exists()


@pytest.mark.parametrize("user", [False, True])
def test_the_units_are_what_systemd_accepts(tmp_path: Path, user: bool) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("systemd-analyze is not installed")
    config = BoardConfig("kitchen-abcdef", DEVICE, "none", PROFILE, SERVICE_SYSTEMD, memory_limit_mib=256)
    folder = UpdateFolder(Path("/opt/edge"))
    texts = units(folder, config, python=sys.executable, user=user)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [analyse, *(["--user"] if user else []), "verify", "--man=no", *(str(tmp_path / name) for name in texts)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    complaints = [
        line for line in done.stderr.splitlines() if "edge-" in line and "not executable" not in line
    ]
    assert not [line for line in complaints if "Unknown" in line or "Failed to parse" in line], done.stderr
    assert "MemoryMax=256M" in texts["edge-agent.service"]
    assert ("User=edge" in texts["edge-agent.service"]) != user
    assert ("ReadWritePaths=-/opt/edge/outbox" in texts["edge-agent.service"]) != user


def test_systemd_begins_an_update_process_that_could_not_answer_again_for_ever_and_with_a_pause(
    tmp_path: Path,
) -> None:
    config = BoardConfig("kitchen-abcdef", DEVICE, "none", PROFILE, SERVICE_SYSTEMD)
    folder = UpdateFolder(tmp_path)
    text = units(folder, config, python=sys.executable, user=False)["edge-update.service"]
    assert "StartLimitIntervalSec=0" in text, "or the path unit is given up with it"
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStopPost=")]
    pauses = shlex.split(line.removeprefix("ExecStopPost="))[-1].replace("sleep ", "echo ")

    def paused() -> bool:
        return subprocess.run(["sh", "-c", pauses], capture_output=True, check=True).stdout != b""

    assert not paused(), "what was answered is followed by the next at once"
    for path in (folder.request, folder.resume):
        path.parent.mkdir()
        path.touch()
        assert paused()
        path.unlink()
