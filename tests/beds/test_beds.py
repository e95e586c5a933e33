"""Each bed gives what it promises; plain paramiko here, so that a failure is the bed's."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tests.beds.arm64_chroot import run_arm64
from tests.beds.board import PASSWORD, BedBoard, fingerprint, mounts_below
from tests.beds.fixtures import MakeQemu, MakeSshd
from tests.beds.link import linked
from tests.beds.qemu_board import Hardware, QemuBoard
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.beds.systemd_container import SystemdContainer

slow_to_build = pytest.mark.timeout(1800)


@contextlib.contextmanager
def logged_in(board: BedBoard, *, by_password: bool = False) -> Iterator[paramiko.SSHClient]:
    """A client that refuses every host key but the board's."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(ExactKey(board.host_key_fingerprint))
    how = {"password": board.password} if by_password else {"key_filename": str(board.key_path)}
    with client:
        client.connect(
            board.host,
            board.port,
            board.user,
            look_for_keys=False,
            allow_agent=False,
            timeout=60,
            banner_timeout=60,
            auth_timeout=60,
            **how,
        )
        yield client


class ExactKey(paramiko.MissingHostKeyPolicy):
    """Accepts one fingerprint."""

    def __init__(self, expected: str) -> None:
        self.expected = expected

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        assert key.fingerprint == self.expected


def said(client: paramiko.SSHClient, command: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and what a command printed, errors too."""
    writing, reading, _ = client.exec_command(command + " 2>&1", timeout=300)
    writing.write(stdin)
    writing.channel.shutdown_write()
    text = reading.read().decode()
    return reading.channel.recv_exit_status(), text.strip()


# -- sshd -------------------------------------------------------------------------------------------------


def test_a_board_with_sshd_answers_with_its_own_host_key(sshd_board: SshdBoard) -> None:
    assert sshd_board.board.host_key_fingerprint == fingerprint(sshd_board.folder / "host_key.pub")
    with logged_in(sshd_board.board) as client:
        code, text = said(client, "python3 --version && uname -m")
    assert code == 0
    assert text.startswith("Python 3.")


def test_a_power_cut_ends_the_programs_of_a_board_with_sshd_and_keeps_its_files(
    sshd_board: SshdBoard,
) -> None:
    if not sshd_board.isolated:
        pytest.skip("an ordinary user's board keeps its daemons")
    with logged_in(sshd_board.board) as client:
        said(client, "nohup sleep 4711 >/dev/null 2>&1 & echo here > kept")
    sshd_board.power_cut()
    assert (sshd_board.home / "kept").read_text() == "here\n"
    sshd_board.boot()
    with logged_in(sshd_board.board) as client:
        assert said(client, "cat kept; ps ax | grep '[s]leep 4711'") == (1, "here")


def test_sshd_takes_or_refuses_a_password_as_it_is_told(sshd_boards: MakeSshd) -> None:
    takes, refuses = sshd_boards("takes"), sshd_boards("refuses", SshdOptions(password=False))
    if not takes.isolated:
        pytest.skip("only root can check passwords")
    with logged_in(takes.board, by_password=True) as client:
        assert said(client, "id -un") == (0, "pi")
    given = BedBoard(**{**vars(refuses.board), "password": PASSWORD})
    with pytest.raises(paramiko.BadAuthenticationType), logged_in(given, by_password=True):
        pass


def test_sshd_refuses_to_forward_when_told_so(sshd_boards: MakeSshd) -> None:
    with logged_in(sshd_boards("open").board) as client:
        transport = client.get_transport()
        assert transport is not None
        assert transport.request_port_forward("127.0.0.1", 0)
    with logged_in(sshd_boards("shut", SshdOptions(forwarding=False)).board) as client:
        transport = client.get_transport()
        assert transport is not None
        with pytest.raises(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)


def test_sudo_on_a_board_with_sshd_changes_nothing_here(sshd_boards: MakeSshd) -> None:
    board = sshd_boards("sudoer", SshdOptions(sudo="password")).board
    with logged_in(board) as client:
        assert_sudo_asks(client)
        said(client, "sudo -S -p '' touch /etc/only-on-the-board", PASSWORD + "\n")
        assert said(client, "ls /etc/only-on-the-board")[0] == 0
    assert not Path("/etc/only-on-the-board").exists()


def test_two_boards_with_networks_of_their_own_can_listen_on_the_same_port(sshd_boards: MakeSshd) -> None:
    options = SshdOptions(own_network=True)
    listen = "import socket; s = socket.create_server(('127.0.0.1', 8470)); print('up', flush=True); input()"
    with (
        logged_in(sshd_boards("one", options).board) as one,
        logged_in(sshd_boards("two", options).board) as two,
    ):
        for client in (one, two):
            _, reading, _ = client.exec_command(f'python3 -c "{listen}" 2>&1', timeout=60)
            assert reading.readline() == "up\n"
        assert "eth" not in said(one, "cat /proc/net/dev")[1]


# -- link -------------------------------------------------------------------------------------------------


def test_a_link_is_cut_after_so_many_bytes_and_whole_again_afterwards(sshd_board: SshdBoard) -> None:
    with linked(sshd_board.board) as (board, link):
        with logged_in(board) as client:
            sftp = client.open_sftp()  # not in `with`: after the cut it can't be closed in an orderly way
            before = link.passed["to_board"]
            link.cut_after(100_000)
            with pytest.raises((OSError, EOFError, paramiko.SSHException)):
                sftp.putfo(io.BytesIO(bytes(5_000_000)), "big")
            assert link.passed["to_board"] - before == 100_000
        with logged_in(board) as client:
            assert said(client, "true")[0] == 0


def test_a_link_can_be_slow_and_far(sshd_board: SshdBoard) -> None:
    with linked(sshd_board.board) as (board, link), logged_in(board) as client:
        link.delay_s(0.1)
        start = time.monotonic()
        said(client, "true")
        assert time.monotonic() - start > 0.4  # two round trips at least: open, run
        link.delay_s(0)
        link.rate(200_000)
        start = time.monotonic()
        with client.open_sftp() as sftp:
            sftp.putfo(io.BytesIO(bytes(200_000)), "small")
        assert 0.8 < time.monotonic() - start < 10


def test_a_stalled_link_is_silent_and_an_unplugged_one_refuses(sshd_board: SshdBoard) -> None:
    with linked(sshd_board.board) as (board, link):
        with logged_in(board) as client:
            link.stall()
            transport = client.get_transport()
            assert transport is not None
            with pytest.raises(paramiko.SSHException, match="Timeout"):
                transport.open_session(timeout=1)
            link.resume()
            assert said(client, "echo late") == (0, "late")
        link.unplug()
        with pytest.raises((paramiko.SSHException, EOFError, OSError)), logged_in(board):
            pass
        link.plug()
        with logged_in(board):
            pass


# -- systemd ----------------------------------------------------------------------------------------------


def assert_sudo_asks(client: paramiko.SSHClient) -> None:
    assert said(client, "sudo -n id -u")[0] != 0
    code, text = said(client, "sudo -k -S -p '' id -u", "not the password\n")
    assert code != 0
    assert "incorrect password attempt" in text
    assert said(client, "sudo -k -S -p '' id -u", PASSWORD + "\n") == (0, "0")


def assert_bare(client: paramiko.SSHClient) -> None:
    """Nothing but sshd and Python: no pip, no compiler, no transfer tools."""
    assert said(client, "python3 -m pip --version")[0] != 0
    assert said(client, "for p in pip gcc cc rsync curl wget; do command -v $p; done; true") == (0, "")


@pytest.mark.bed
@slow_to_build
def test_the_container_runs_systemd_and_survives_a_power_cut(systemd_board: SystemdContainer) -> None:
    with logged_in(systemd_board.board) as client:
        assert said(client, "python3 --version")[1].startswith("Python 3.")
        assert said(client, "systemctl is-system-running --wait") == (0, "running")
        assert said(client, "systemctl --user is-system-running --wait") == (0, "running")
        assert_bare(client)
        assert_sudo_asks(client)
        assert said(client, "cat /proc/net/dev | grep -vc -e face -e Inter -e lo:") == (1, "0")
        assert said(client, "loginctl enable-linger && echo kept > kept")[0] == 0
    systemd_board.power_cut()
    assert mounts_below(systemd_board.root) == []
    systemd_board.boot()
    with logged_in(systemd_board.board, by_password=True) as client:
        assert said(client, "cat kept; ls /var/lib/systemd/linger") == (0, "kept\npi")
    systemd_board.shut_down()


@pytest.mark.bed
@slow_to_build
def test_a_unit_of_the_container_is_restarted(systemd_board: SystemdContainer) -> None:
    with logged_in(systemd_board.board) as client:
        run = "systemd-run --user --unit=stays -p Restart=always -p RestartSec=0 sleep 4711"
        assert said(client, run)[0] == 0
        assert said(client, "systemctl --user kill -s KILL stays && sleep 1")[0] == 0
        assert said(client, "systemctl --user show -P NRestarts stays")[1] == "1"


# -- the emulated board -----------------------------------------------------------------------------------


@pytest.mark.bed
@slow_to_build
def test_the_emulated_board_is_bare_alone_and_another_architecture(qemu_board: QemuBoard) -> None:
    with logged_in(qemu_board.board) as client:
        assert said(client, "uname -m") == (0, "aarch64")
        assert said(client, "python3 --version")[1].startswith("Python 3.11")
        assert said(client, "systemctl is-system-running --wait") == (0, "running")
        assert said(client, "sudo -n id -u") == (0, "0")
        assert_bare(client)
        assert said(client, "ip route show default") == (0, "")
        serial = said(client, "tr -d '\\0' < /proc/device-tree/serial-number")
        assert serial == (0, qemu_board.hardware.serial)


@pytest.mark.bed
@slow_to_build
def test_the_emulated_board_enforces_memory_limits(qemu_board: QemuBoard) -> None:
    with logged_in(qemu_board.board) as client:
        limits = "-p MemoryMax=32M -p MemorySwapMax=0"
        code, _ = said(client, f"sudo systemd-run --wait {limits} python3 -c 'b = bytearray(128 << 20)'")
        assert code != 0
        assert "Memory cgroup out of memory" in said(client, "sudo dmesg")[1]


@pytest.mark.bed
@slow_to_build
def test_the_emulated_board_keeps_what_was_synced_before_a_power_cut(qemu_board: QemuBoard) -> None:
    with logged_in(qemu_board.board) as client:
        assert said(client, "echo kept > synced && sync && echo lost > not-synced")[0] == 0
        qemu_board.power_cut()
    qemu_board.boot()
    with logged_in(qemu_board.board) as client:
        assert said(client, "cat synced") == (0, "kept")
        assert said(client, "cat not-synced")[1] != "lost"
        assert "recovery complete" in said(client, "sudo dmesg | grep EXT4")[1]


@pytest.mark.bed
@slow_to_build
def test_a_cloned_card_has_the_identity_of_the_first_and_another_serial(
    qemu_board: QemuBoard, qemu_boards: MakeQemu
) -> None:
    with logged_in(qemu_board.board) as client:
        said(client, "sync")
        machine_id = said(client, "cat /etc/machine-id")
    other = Hardware(clock="2035-01-01T00:00:00", kernel_arguments="cgroup_disable=memory")
    clone = qemu_boards("clone", hardware=other, disk=qemu_board.disk)
    assert clone.board.host_key_fingerprint == qemu_board.board.host_key_fingerprint
    with logged_in(clone.board) as client:
        assert said(client, "cat /etc/machine-id") == machine_id
        serial = said(client, "tr -d '\\0' < /proc/device-tree/serial-number")[1]
        assert serial == other.serial != qemu_board.hardware.serial
        assert "memory" not in said(client, "cat /sys/fs/cgroup/cgroup.controllers")[1]
        assert said(client, "date +%Y") == (0, "2035")
    clone.stop()


# -- the chroot -------------------------------------------------------------------------------------------


@pytest.mark.bed
@slow_to_build
def test_an_arm64_program_runs_in_the_chroot_and_leaves_no_trace(arm64_root: Path, tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime/hello.py").write_text("import platform\nWHERE = platform.machine()\n")
    script = "import hello, os; print(hello.WHERE, os.getuid()); open('/var/tmp/x', 'w'); print(input())"
    done = run_arm64(
        arm64_root,
        ["python3", "-c", script],
        {tmp_path / "runtime": "/opt/edge/runtime"},
        environment={"PYTHONPATH": "/opt/edge/runtime", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin="said\n",
    )
    assert (done.returncode, done.stdout) == (0, "aarch64 1000\nsaid\n"), done.stderr
    assert run_arm64(arm64_root, ["touch", "/opt/x"], user="root").returncode == 0
    assert not (arm64_root / "opt/x").exists()
    assert mounts_below(arm64_root) == []
    networks = run_arm64(arm64_root, ["sh", "-c", "sed 1,2d /proc/net/dev | grep -vc lo:"])
    assert networks.stdout == "0\n"
