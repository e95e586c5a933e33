"""The way back, through real sshd: bytes both ways, its end in every case, and the sessions that are left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.contract.errors import ForwardingRefused
from edge.fleet import reverse
from edge.fleet.address import Address
from edge.fleet.checkup import way_back_refused
from edge.fleet.connection import Board, connect
from edge.fleet.reverse import ReverseForward
from tests.beds.board import bed_key, children, free_port
from tests.beds.link import Link
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.fleet.conftest import Open, shown_key

END_S = 20.0


@pytest.fixture
def cable(link: Link) -> Iterator[Link]:
    """The module's cable, whole again after the test."""
    yield link
    link.resume()


class Serving:
    """A reverse forward that is led by a thread of its own."""

    def __init__(self, board: Board, target: Callable[[], int | None]) -> None:
        self.forward = ReverseForward(board, target)
        self.reason: str | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.reason = self.forward.serve()

    def end(self) -> str | None:
        self.thread.join(END_S)
        assert not self.thread.is_alive()
        return self.reason

    def connect(self) -> socket.socket:
        """As the board's agent does; a bed shares the loopback."""
        return socket.create_connection(("127.0.0.1", self.forward.remote_port), 10)


@pytest.fixture
def echo() -> Iterator[int]:
    """A port here where everything comes back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(link: socket.socket) -> None:
        with link:
            while data := link.recv(65536):
                link.sendall(data)

    def accept() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(link,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def serve(open_board: Open, echo: int) -> Iterator[Callable[..., Serving]]:
    """Makes reverse forwards to `echo`."""
    made: list[Serving] = []

    def serve(board: Board | None = None, target: Callable[[], int | None] | None = None) -> Serving:
        serving = Serving(board or open_board(), target or (lambda: echo))
        made.append(serving)
        return serving

    yield serve
    for serving in made:
        serving.forward.close()
        serving.end()


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def echoed(link: socket.socket, data: bytes) -> bytes:
    """What comes back of `data`."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(link.sendall, data)
        found = b""
        while len(found) < len(data) and (more := link.recv(1 << 20)):
            found += more
    return found


def test_what_the_board_sends_comes_back(serve: Callable[..., Serving]) -> None:
    serving = serve()
    with serving.connect() as link:
        for size in (1, 100, 1 << 20):
            data = os.urandom(size)
            assert echoed(link, data) == data


def test_several_connections_do_not_mix_and_commands_run_beside_them(
    serve: Callable[..., Serving], open_board: Open
) -> None:
    board = open_board()
    serving = serve(board)

    def talk(number: int) -> bool:
        data = bytes([number]) * 200_000
        with serving.connect() as link:
            return echoed(link, data) == data

    with ThreadPoolExecutor(8) as pool:
        talks = [pool.submit(talk, number) for number in range(24)]
        assert board.run(["echo", "beside"]).stdout == b"beside\n"
        assert all(each.result() for each in talks)


def test_a_side_that_does_not_read_holds_up_nobody_else(serve: Callable[..., Serving]) -> None:
    serving = serve()
    with serving.connect() as stuck, serving.connect() as other:
        stuck.setblocking(False)
        sent = 0
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                sent += stuck.send(b"x" * 65536)
            except BlockingIOError:
                time.sleep(0.01)
        assert echoed(other, b"still here") == b"still here"
        stuck.setblocking(True)
        stuck.settimeout(10)
        got = 0
        while got < sent:
            got += len(stuck.recv(1 << 20))


def test_where_nobody_listens_here_the_board_is_told_so(serve: Callable[..., Serving]) -> None:
    for target in (free_port, lambda: None):
        serving = serve(target=target)
        with serving.connect() as link:
            assert link.recv(1) == b""


def test_the_target_may_move(serve: Callable[..., Serving], echo: int) -> None:
    where = [free_port()]
    serving = serve(target=lambda: where[0])
    with serving.connect() as link:
        assert link.recv(1) == b""
    where[0] = echo
    with serving.connect() as link:
        assert echoed(link, b"there") == b"there"


def test_more_connections_than_anybody_needs_are_refused(serve: Callable[..., Serving]) -> None:
    serving = serve()
    links = [serving.connect() for _ in range(reverse.MOST_LANES)]
    assert all(echoed(link, b"x") == b"x" for link in links)
    with serving.connect() as one_more:
        assert one_more.recv(1) == b""
    assert all(echoed(link, b"y") == b"y" for link in links)
    for link in links:
        link.close()


def test_closing_ends_the_thread_and_leaves_no_descriptor(
    serve: Callable[..., Serving], open_board: Open
) -> None:
    board = open_board()
    before = descriptors()
    serving = serve(board)
    links = [serving.connect() for _ in range(5)]
    assert all(echoed(link, b"x") == b"x" for link in links)
    serving.forward.close()
    assert serving.end() == "it was closed"
    for link in links:
        link.close()
    deadline = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert descriptors() <= before


def test_a_cable_that_is_cut_is_noticed_at_once(
    serve: Callable[..., Serving], open_board: Open, cable: Link
) -> None:
    serving = serve(open_board(port=cable.port))
    with serving.connect() as agent:
        assert echoed(agent, b"x") == b"x"
        began = time.monotonic()
        cable.cut_now()
        assert serving.end()
        assert time.monotonic() - began < reverse.LOOK_S + 1
        assert agent.recv(1) == b""  # sshd is told too, and the agent with it


def test_a_cable_that_swallows_everything_is_found_dead(
    serve: Callable[..., Serving], open_board: Open, cable: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reverse, "ASK_S", 0.5)
    monkeypatch.setattr(reverse, "ANSWER_S", 1.0)
    serving = serve(open_board(port=cable.port))
    time.sleep(1.2)
    assert serving.thread.is_alive()  # it was asked and it answered
    cable.stall()
    assert serving.end() == "no answer within 1 s"


def test_a_board_that_stands_still_is_found_dead(
    serve: Callable[..., Serving], open_board: Open, bed: SshdBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reverse, "ASK_S", 0.5)
    monkeypatch.setattr(reverse, "ANSWER_S", 1.0)
    with SshdBoard("still") as other:
        serving = serve(open_board(other.board))
        stopped = sessions(other)
        send(signal.SIGSTOP, stopped)
        assert serving.end() == "no answer within 1 s"
        send(signal.SIGCONT, stopped)


def test_a_session_that_is_killed_ends_it(
    serve: Callable[..., Serving], open_board: Open, beds_swept: None
) -> None:
    with SshdBoard("killed") as other:
        serving = serve(open_board(other.board))
        send(signal.SIGKILL, sessions(other))
        assert serving.end()


def test_one_that_slept_asks_at_once(
    serve: Callable[..., Serving], open_board: Open, cable: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reverse, "ANSWER_S", 1.0)
    monkeypatch.setattr(reverse, "LOOK_S", 0.2)
    serving = serve(open_board(port=cable.port))
    cable.stall()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)  # the night passed
    began = time.monotonic()
    assert serving.end() == "no answer within 1 s"
    assert time.monotonic() - began < 4  # not after the 15 s of an ordinary day


def test_a_board_that_forbids_it_says_so_and_doctor_too(open_board: Open) -> None:
    with SshdBoard("forbids", SshdOptions(extra=("AllowTcpForwarding local",))) as other:
        board = open_board(other.board)
        with pytest.raises(ForwardingRefused, match="refuses to forward a port to this machine"):
            ReverseForward(board, lambda: None)
        assert way_back_refused(board) == "its sshd forbids it"
        assert board.run(["true"]).status == 0
    assert way_back_refused(open_board()) is None


def send(number: signal.Signals, pids: list[int]) -> None:
    """Signal processes; sshd's helper of a log-in may have ended since it was seen."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def sessions(board: SshdBoard) -> list[int]:
    """Processes of open sessions of a bed: everything below its sshd."""
    assert board._server is not None
    server = board._server.pid
    if board.isolated:
        (server,) = children(server)
    found: list[int] = []
    waiting = children(server)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children(pid)
    return found


def test_it_leads_through_a_jump_host(
    bed: SshdBoard,
    serve: Callable[..., Serving],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SshdBoard("gate") as gate:
        ssh = tmp_path / ".ssh"
        ssh.mkdir()
        (ssh / "config").write_text(
            f"Host kitchen\n  HostName 127.0.0.1\n  Port {bed.board.port}\n  User {bed.board.user}\n"
            f"  ProxyJump {gate.board.user}@localhost:{gate.board.port}\n"
            f"Host *\n  IdentityFile {bed_key()}\n"
        )
        (ssh / "known_hosts").write_text(f"[localhost]:{gate.board.port} {shown_key(gate.board).text}\n")
        address = Address(host="kitchen", host_key=shown_key(bed.board).text, name="kitchen")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        monkeypatch.setattr(reverse, "ASK_S", 0.5)
        monkeypatch.setattr(reverse, "ANSWER_S", 1.0)
        serving = serve(connect(address, fleet=None))
        with serving.connect() as link:
            data = os.urandom(100_000)
            assert echoed(link, data) == data
        for pid in sessions(gate):  # the gate stands still: nothing tells so but the silence
            os.kill(pid, signal.SIGSTOP)
        assert serving.end() == "no answer within 1 s"
        for pid in sessions(gate):
            os.kill(pid, signal.SIGCONT)
