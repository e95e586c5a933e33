from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from agent.contract.errors import (
    AuthenticationFailed,
    ConfigInvalid,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnknown,
    HostUnreachable,
    OptionInvalid,
)
from edge.config import FleetFolder
from edge.fleet.address import Address
from edge.fleet.authorize import authorize
from edge.fleet.connection import connect, scan_host_key
from edge.fleet.timeouts import Timeouts
from tests.beds.board import bed_key, free_port
from tests.beds.link import Link
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import Open, pinned, shown_key


def test_a_key_that_was_never_shown_is_refused_with_its_fingerprint(
    fleet: FleetFolder, bed: SshdBoard
) -> None:
    address = Address(host=bed.board.host, port=bed.board.port, user=bed.board.user)
    with pytest.raises(HostKeyUnknown) as refused:
        connect(address, fleet=fleet)
    assert refused.value.facts["fingerprint"] == bed.board.host_key_fingerprint


def test_another_key_than_the_pinned_one_is_refused_with_both_fingerprints(
    fleet: FleetFolder, bed: SshdBoard, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "other"], check=True)
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    printed = subprocess.run(["ssh-keygen", "-lf", tmp_path / "other.pub"], capture_output=True, text=True)
    address = Address(
        host=bed.board.host, port=bed.board.port, user=bed.board.user, host_key=other, name="kitchen"
    )
    with pytest.raises(HostKeyChanged) as refused:
        connect(address, fleet=fleet)
    assert refused.value.facts == {
        "device": "kitchen",
        "pinned": printed.stdout.split()[1],
        "shown": bed.board.host_key_fingerprint,
    }


def test_a_key_in_the_users_known_hosts_counts_for_nothing(
    fleet: FleetFolder, bed: SshdBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{bed.board.port} {shown_key(bed.board).text}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HostKeyUnknown):
        connect(Address(host="127.0.0.1", port=bed.board.port, user=bed.board.user), fleet=fleet)


def test_no_such_host(fleet: FleetFolder) -> None:
    with pytest.raises(HostUnknown, match=r"no host `no-such-board.invalid`"):
        connect(Address(host="no-such-board.invalid"), fleet=fleet)


def test_a_port_where_nobody_listens(fleet: FleetFolder) -> None:
    with pytest.raises(HostUnreachable, match="connection refused"):
        connect(Address(host="127.0.0.1", port=free_port()), fleet=fleet)


def test_a_port_that_takes_connections_and_never_greets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(HostUnreachable, match="no SSH server greets"):
            scan_host_key(
                Address(host="127.0.0.1", port=silent.getsockname()[1]), timeouts=Timeouts(handshake_s=1.0)
            )
    assert time.monotonic() - began < 5


def test_a_link_that_is_dead_after_the_connection_ends_in_a_deadline(bed: SshdBoard) -> None:
    with Link(bed.board.port) as dead:
        dead.stall()
        with pytest.raises(HostUnreachable):
            connect(
                Address(host="127.0.0.1", port=dead.port, host_key=shown_key(bed.board).text),
                fleet=None,
                timeouts=Timeouts(handshake_s=1.0),
            )


def test_a_board_that_turns_connections_away_for_a_moment_is_asked_again(
    open_board: Open, bed: SshdBoard
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        turnstile = Turnstile(door, bed.board.port, closed_first=2)
        turnstile.start()
        assert open_board(port=door.getsockname()[1]).run(["true"]).status == 0


def test_a_wrong_user(fleet: FleetFolder, bed: SshdBoard) -> None:
    with pytest.raises(AuthenticationFailed, match="refused the user `nobody-here`"):
        connect(pinned(bed.board, user="nobody-here"), fleet=fleet)


def test_a_wrong_password_says_so_and_never_shows_it(bed: SshdBoard) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        connect(pinned(bed.board), fleet=None, password="not-the-password")
    assert "the password" in str(refused.value)
    assert "not-the-password" not in str(refused.value.to_plain())


def test_a_board_with_only_a_password_gets_the_folders_key_once(bed: SshdBoard, tmp_path: Path) -> None:
    if bed.board.password is None:
        pytest.skip("passwords of this machine's user can't be checked without root")
    stranger = FleetFolder.create(tmp_path / "fresh", "fresh")
    with pytest.raises(AuthenticationFailed):
        connect(pinned(bed.board), fleet=stranger)
    with connect(pinned(bed.board), fleet=stranger, password=bed.board.password) as board:
        assert board.run(["true"]).status == 0
        assert authorize(board, stranger)
        assert not authorize(board, stranger)
    text = (bed.home / ".ssh" / "authorized_keys").read_text()
    assert text == (stranger.keys / "ssh.pub").read_text()
    assert (bed.home / ".ssh").stat().st_mode & 0o777 == 0o700
    assert (bed.home / ".ssh" / "authorized_keys").stat().st_mode & 0o777 == 0o600
    shutil.rmtree(bed.home / ".ssh")


def test_an_alias_of_the_users_ssh_config_is_followed(
    bed: SshdBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    shutil.copy(bed_key(), ssh / "mine")
    (ssh / "config").write_text("Include more/*.conf\nHost cellar\n  Port 1\n")
    (ssh / "more").mkdir()
    (ssh / "more" / "boards.conf").write_text(
        f"Host kitchen\n  HostName 127.0.0.1\n  Port {bed.board.port}\n  User {bed.board.user}\n"
        f"  IdentityFile {ssh}/missing\n  IdentityFile {ssh}/mine\n  ConnectTimeout 3\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = scan_host_key(Address(host="kitchen"))
    with connect(Address(host="kitchen", host_key=key.text, name="kitchen"), fleet=None) as board:
        assert (board.host, board.port, board.user) == ("127.0.0.1", bed.board.port, bed.board.user)
        assert board.run(["true"]).status == 0


def test_a_jump_host_is_gone_through_when_the_user_knows_its_key(
    bed: SshdBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = bed.board
    with SshdBoard("gate") as gate:
        ssh = tmp_path / ".ssh"
        ssh.mkdir()
        shutil.copy(bed_key(), ssh / "mine")
        (ssh / "config").write_text(
            f"Host kitchen\n  HostName 127.0.0.1\n  Port {target.port}\n  User {target.user}\n"
            f"  ProxyJump {gate.board.user}@localhost:{gate.board.port}\n"
            f"Host *\n  IdentityFile {ssh}/mine\n"
        )
        key, gate_key = shown_key(target).text, shown_key(gate.board).text
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        address = Address(host="kitchen", host_key=key, name="kitchen")
        with pytest.raises(HostKeyUnknown) as refused:
            connect(address, fleet=None)
        assert refused.value.facts["fingerprint"] == gate.board.host_key_fingerprint
        (ssh / "known_hosts").write_text(f"[localhost]:{gate.board.port} {gate_key}\n")
        assert scan_host_key(Address(host="kitchen")).text == key
        with connect(address, fleet=None) as board:
            assert (
                board.run(["sh", "-c", "echo $SSH_CONNECTION"]).stdout.split()[3] == str(target.port).encode()
            )


def test_a_configuration_that_cannot_be_understood_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host kitchen\n  Port twenty\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigInvalid, match=r"~/.ssh/config"):
        scan_host_key(Address(host="kitchen"))


def test_keys_of_an_agent_open_a_board(
    bed: SshdBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bed_key()  # where it lies follows from HOME
    monkeypatch.setenv("HOME", str(tmp_path))
    socket_path = f"/tmp/edge-agent-{os.getpid()}"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 5
        while not Path(socket_path).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", socket_path)
        subprocess.run(["ssh-add", "-q", key], check=True)
        with connect(pinned(bed.board), fleet=None) as board:
            assert board.run(["true"]).status == 0
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize(
    ("text", "host", "user", "port"),
    [
        ("board", "board", None, None),
        ("pi@raspberrypi.local", "raspberrypi.local", "pi", None),
        ("pi@10.0.0.7:2222", "10.0.0.7", "pi", 2222),
        ("[fe80::1%eth0]:22", "fe80::1%eth0", None, 22),
        ("2001:db8::7", "2001:db8::7", None, None),
    ],
)
def test_an_address_is_read(text: str, host: str, user: str | None, port: int | None) -> None:
    address = Address.parse(text)
    assert (address.host, address.user, address.port) == (host, user, port)


@pytest.mark.parametrize(
    "text", ["", "a b", "pi@", "-oProxyCommand=id", "pi@-x", "host:99999", "$(id)", "a:b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(OptionInvalid):
        Address.parse(text)


class Turnstile:
    """Closes the first connections at once, as sshd does above MaxStartups, and leads the next to the board."""

    def __init__(self, door: socket.socket, port: int, *, closed_first: int) -> None:
        self._door = door
        self._port = port
        self._closed_first = closed_first

    def start(self) -> None:
        import threading

        threading.Thread(target=self._stand, daemon=True).start()

    def _stand(self) -> None:
        import threading

        for _ in range(self._closed_first):
            self._door.accept()[0].close()
        near, _ = self._door.accept()
        far = socket.create_connection(("127.0.0.1", self._port))
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
