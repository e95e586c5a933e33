from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.contract.errors import (
    AuthenticationFailed,
    ConnectionLost,
    DeviceUnknown,
    HostUnreachable,
    OptionInvalid,
    RemoteDiskFull,
)
from edge.config import FleetFolder
from edge.fleet.address import Address
from edge.fleet.authorize import authorize
from edge.fleet.connection import Board, connect, scan_host_key
from edge.fleet.install import choose_placement, stage
from edge.fleet.probe import probe
from edge.fleet.upload import document, upload
from edge.inventory import Device
from edge.rollouts.ssh_rotation import replace_ssh_key
from edge.rollouts.workspace import Workspace
from edge.sim import disk, processes
from edge.sim.boards import SimBoard, boards, break_board, down, up
from edge.sim.plan import plans

STAYS = "nohup sleep 300 >/dev/null 2>&1 & echo $!"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetFolder]:
    fleet = FleetFolder.create(tmp_path_factory.mktemp("fleet") / "f", "demo")
    up(fleet, 2)
    yield fleet
    down(fleet)


@pytest.fixture
def board(fleet: FleetFolder) -> SimBoard:
    return boards(fleet)[0]


def open_sim(fleet: FleetFolder, sim: SimBoard, password: str | None = None) -> Board:
    address = Address(host=sim.host, port=sim.port, user=sim.user, host_key=sim.host_key, name=sim.name)
    return connect(address, fleet=fleet, password=password)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_boards_are_two_kinds_in_turn_and_stay_as_they_are(fleet: FleetFolder) -> None:
    first = boards(fleet)
    assert [(board.name, board.kind, board.running) for board in first] == [
        ("sim-1", "tflite", True),
        ("sim-2", "onnx", True),
    ]
    assert all(board.port < 32768 for board in first)
    assert up(fleet, 2) == first


def test_they_show_a_host_key_of_their_own(fleet: FleetFolder) -> None:
    shown = [scan_host_key(Address.parse(board.address)).fingerprint for board in boards(fleet)]
    assert shown == [board.fingerprint for board in boards(fleet)]
    assert len(set(shown)) == 2


def test_they_say_that_they_are_simulated(fleet: FleetFolder, board: SimBoard) -> None:
    with open_sim(fleet, board) as link:
        assert b"sim-1: edge simulated board (tflite)" in (link.transport.get_banner() or b"")
        facts = probe(link)
    assert facts.simulated
    assert facts.model == "edge simulated board (tflite)"
    assert facts.serial == (board.folder / "serial").read_text().strip()
    assert not facts.systemd
    placement = choose_placement(facts)
    assert (placement.root, placement.service) == (f"{board.folder}/home/.edge", "supervisor")


def test_commands_are_real_processes_in_a_home_of_their_own(fleet: FleetFolder, board: SimBoard) -> None:
    with open_sim(fleet, board) as link:
        given = bytes(range(256)) * 8000
        result = link.run(["sh", "-c", "cat; pwd >&2; exit 9"], input=given)
        assert (result.status, result.stdout) == (9, given)
        assert result.stderr.decode().strip() == f"{board.folder}/home"
        assert link.run(["sh", "-c", "kill -9 $PPID"]).status == -1


def test_nothing_of_this_machine_leaks_into_them(
    fleet: FleetFolder, board: SimBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_sim(fleet, board) as link:
        seen = link.run(["env"]).stdout.decode()
        path = link.run(["python3", "-I", "-c", "import sys; print(sys.path)"]).stdout.decode()
    names = {line.partition("=")[0] for line in seen.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "EDGE_SIM", "EDGE_SIM_FOLDER", "EDGE_SIM_MODEL", "EDGE_SIM_SERIAL_FILE", "HOME", "LANG", "LOGNAME",
        "PATH", "SHELL", "USER",
    }  # fmt: skip
    assert sys.prefix == sys.base_prefix or sys.prefix not in path


def test_files_go_over_sftp_too(fleet: FleetFolder, board: SimBoard, tmp_path: Path) -> None:
    with open_sim(fleet, board) as link:
        sftp = link.transport.open_sftp_client()
        assert sftp is not None
        (tmp_path / "x").write_bytes(b"abc")
        sftp.put(str(tmp_path / "x"), "relative")
        assert sftp.normalize(".") == f"{board.folder}/home"
        assert (board.folder / "home" / "relative").read_bytes() == b"abc"


def test_a_wrong_user_and_a_strange_key_are_refused(
    fleet: FleetFolder, board: SimBoard, tmp_path: Path
) -> None:
    stranger = FleetFolder.create(tmp_path / "s", "stranger")
    with pytest.raises(AuthenticationFailed):
        open_sim(stranger, board)
    address = Address(host=board.host, port=board.port, user="nobody-here", host_key=board.host_key)
    with pytest.raises(AuthenticationFailed):
        connect(address, fleet=fleet)


def test_they_take_another_key_of_the_folder_and_let_the_former_one_in_no_more(
    fleet: FleetFolder, board: SimBoard, tmp_path: Path
) -> None:
    workspace = Workspace(fleet, lambda _: "")
    former = FleetFolder.create(tmp_path / "former", "former")
    shutil.copytree(fleet.keys, former.keys, dirs_exist_ok=True)
    for sim in boards(fleet):
        workspace.inventory.add(
            Device(
                name=sim.name, device_id=f"b-{sim.name}", host=sim.host, port=sim.port, user=sim.user,
                host_key=sim.host_key, fingerprint="x",
            )
        )  # fmt: skip
    try:
        assert [one.problem for one in replace_ssh_key(workspace)] == [None, None]
    finally:
        for sim in boards(fleet):
            workspace.inventory.remove(sim.name)
    with open_sim(fleet, board) as link:
        assert link.run(["true"]).status == 0
    with pytest.raises(AuthenticationFailed):
        open_sim(former, board)


def test_a_cut_resets_connections_and_welcomes_new_ones(fleet: FleetFolder, board: SimBoard) -> None:
    with open_sim(fleet, board) as link:
        break_board(fleet, board.name, "cut")
        with pytest.raises(ConnectionLost):
            link.run(["sleep", "9"])
    with open_sim(fleet, board) as link:
        assert link.run(["true"]).status == 0


def test_an_unplugged_board_does_not_answer_until_it_is_mended(fleet: FleetFolder, board: SimBoard) -> None:
    break_board(fleet, board.name, "unplug")
    with pytest.raises(HostUnreachable):
        open_sim(fleet, board)
    break_board(fleet, board.name, "mend")
    with open_sim(fleet, board) as link:
        assert link.run(["true"]).status == 0


def test_a_slow_link_is_slow(fleet: FleetFolder, board: SimBoard) -> None:
    with open_sim(fleet, board) as link:
        break_board(fleet, board.name, "slow")
        try:
            began = time.monotonic()
            link.run(["cat"], input=os.urandom(60_000))
            assert time.monotonic() - began > 1.0
        finally:
            break_board(fleet, board.name, "mend")


def test_a_full_disk_has_no_room_for_uploads(fleet: FleetFolder, board: SimBoard) -> None:
    if disk.possible() is not None:
        with pytest.raises(OptionInvalid, match="only root on Linux"):
            break_board(fleet, board.name, "disk-full")
        return
    with open_sim(fleet, board) as link:
        placement = choose_placement(probe(link))
        stage(link, placement)
        break_board(fleet, board.name, "disk-full")
        try:
            with pytest.raises(RemoteDiskFull):
                upload(link, placement.root, [document("blobs/x", os.urandom(200_000))], what="it")
        finally:
            break_board(fleet, board.name, "mend")
        upload(link, placement.root, [document("blobs/x", os.urandom(200_000))], what="it")


def test_what_a_session_leaves_running_lives_on_and_ends_with_a_reboot(
    fleet: FleetFolder, board: SimBoard
) -> None:
    with open_sim(fleet, board) as link:
        pid = int(link.run(["sh", "-c", STAYS]).stdout)
    assert alive(pid)
    (plan, other) = plans(fleet)
    assert pid in processes.of_board(plan)
    assert pid not in processes.of_board(other)
    break_board(fleet, board.name, "reboot")
    assert not alive(pid)
    with open_sim(fleet, board) as link:
        assert link.run(["true"]).status == 0


def test_a_reboot_starts_the_supervisor_where_edge_is_installed(fleet: FleetFolder) -> None:
    (plan, *_) = plans(fleet)
    root = plan.home / ".edge"
    (root / "bin").mkdir(parents=True, exist_ok=True)
    (root / "board.json").write_text('{"service": "supervisor"}')
    (root / "bin" / "launch.py").write_text(
        "import os, sys, time\nopen(os.environ['HOME'] + '/started', 'w').write(' '.join(sys.argv[1:]))\n"
        "time.sleep(300)\n"
    )
    try:
        break_board(fleet, plan.name, "reboot")
        deadline = time.monotonic() + 10
        while not (plan.home / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)
        assert (plan.home / "started").read_text() == f"--root {root} supervise"
        assert len(processes.of_board(plan)) == 1
    finally:
        (root / "board.json").unlink()
        (root / "bin" / "launch.py").unlink()
        break_board(fleet, plan.name, "reboot")


def test_a_power_cut_lasts_until_it_is_mended(fleet: FleetFolder, board: SimBoard) -> None:
    with open_sim(fleet, board) as link:
        pid = int(link.run(["sh", "-c", STAYS]).stdout)
        break_board(fleet, board.name, "power-cut")
        with pytest.raises(ConnectionLost):
            link.run(["true"])
    assert not alive(pid)
    with pytest.raises(HostUnreachable):
        open_sim(fleet, board)
    break_board(fleet, board.name, "mend")
    assert boards(fleet)[0] == board
    with open_sim(fleet, board) as link:
        assert link.run(["true"]).status == 0


@pytest.mark.parametrize(
    ("name", "fault", "error"), [("sim-9", "cut", DeviceUnknown), ("sim-1", "cutt", OptionInvalid)]
)
def test_what_is_not_there_is_not_broken(
    fleet: FleetFolder, name: str, fault: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="did you mean"):
        break_board(fleet, name, fault)


def test_boards_outlive_the_command_that_started_them_and_end_with_down(tmp_path: Path) -> None:
    fleet = FleetFolder.create(tmp_path / "f", "demo")
    script = (
        "import sys\nfrom pathlib import Path\nfrom edge.config import FleetFolder\n"
        "from edge.sim.boards import up\nup(FleetFolder.open(Path(sys.argv[1])), 1)\n"
    )
    subprocess.run([sys.executable, "-c", script, fleet.path], check=True, timeout=60)
    try:
        (board,) = boards(fleet)
        assert board.running
        with open_sim(fleet, board) as link:
            pid = int(link.run(["sh", "-c", STAYS]).stdout)
    finally:
        down(fleet)
    assert not alive(pid)
    assert not boards(fleet)[0].running
    with pytest.raises(OptionInvalid, match="it is not up"):
        break_board(fleet, "sim-1", "cut")
    (again,) = up(fleet, 1)
    try:
        assert again == board
    finally:
        down(fleet, wipe=True)
    assert not fleet.sims.exists()
    assert boards(fleet) == ()


def test_a_server_that_was_killed_is_replaced_and_what_it_left_is_ended(tmp_path: Path) -> None:

    fleet = FleetFolder.create(tmp_path / "f", "demo")
    try:
        (board,) = up(fleet, 1)
        with open_sim(fleet, board) as link:
            pid = int(link.run(["sh", "-c", STAYS]).stdout)
        server = int(json.loads((fleet.sims / "server.json").read_text())["pid"])
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        assert not boards(fleet)[0].running
        assert up(fleet, 1)[0].running
        os.kill(int(json.loads((fleet.sims / "server.json").read_text())["pid"]), signal.SIGKILL)
        assert alive(pid)
    finally:
        down(fleet)
    assert not alive(pid)


def test_a_server_ends_when_its_folder_is_gone(tmp_path: Path) -> None:

    fleet = FleetFolder.create(tmp_path / "f", "demo")
    up(fleet, 1)
    server = int(json.loads((fleet.sims / "server.json").read_text())["pid"])
    shutil.rmtree(fleet.path)
    deadline = time.monotonic() + 15
    while alive(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(server)
    os.waitpid(server, 0)


def test_a_board_with_a_password_alone_takes_the_folders_key(tmp_path: Path) -> None:
    fleet = FleetFolder.create(tmp_path / "f", "demo")
    (board,) = up(fleet, 1, kinds=["onnx"], password="simulated")
    try:
        assert board.kind == "onnx"
        with pytest.raises(AuthenticationFailed):
            open_sim(fleet, board)
        with pytest.raises(AuthenticationFailed):
            open_sim(fleet, board, password="wrong")
        with open_sim(fleet, board, password="simulated") as link:
            assert authorize(link, fleet)
        with open_sim(fleet, board) as link:
            assert link.run(["true"]).status == 0
    finally:
        down(fleet)


def test_twenty_boards_answer_at_once(tmp_path: Path) -> None:
    fleet = FleetFolder.create(tmp_path / "f", "demo")
    try:
        twenty = up(fleet, 20)

        def greet(board: SimBoard) -> str:
            with open_sim(fleet, board) as link:
                return link.run(["sh", "-c", "basename $EDGE_SIM_FOLDER"]).stdout.decode().strip()

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(greet, twenty)) == [f"sim-{number}" for number in range(1, 21)]
    finally:
        down(fleet)
