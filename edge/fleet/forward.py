"""A port of the board on this machine, through the connection that is there already.

The rule: it listens on loopback only, and when it is closed no thread, socket or channel of it is left.
"""

from __future__ import annotations

import contextlib
import socket
import threading

import paramiko

from agent.contract.errors import PortTaken
from edge.fleet.end_of_input import end_of_input

CHUNK_BYTES = 64 * 1024


class Forward:
    """Leads each connection to `127.0.0.1:local_port` to the board's loopback. A context manager.

    Attributes:
        remote_port: on the board.
        local_port: on this machine.
        refused: why the board last refused a connection, or None.
    """

    def __init__(
        self, transport: paramiko.Transport, name: str, remote_port: int, local_port: int, timeout_s: float
    ) -> None:
        self.remote_port = remote_port
        self.refused: str | None = None
        self._transport = transport
        self._timeout_s = timeout_s
        self._closed = False
        self._lock = threading.Lock()
        self._ends: set[socket.socket | paramiko.Channel] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = _listener(local_port)
        self.local_port = int(self._listener.getsockname()[1])
        self._start(self._accept, name=f"edge-forward-{name}")

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.local_port}"

    def close(self) -> None:
        """Stop listening, end what is open, wait for every thread."""
        with self._lock:
            self._closed = True
            ends = list(self._ends)
        with contextlib.suppress(OSError):  # wakes `accept`, which closing alone does not
            socket.create_connection(("127.0.0.1", self.local_port), 0.2).close()
        self._listener.close()
        for end in ends:
            _end(end)
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(self._timeout_s)

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, target: object, *arguments: object, name: str) -> None:
        def work() -> None:
            try:
                target(*arguments)  # type: ignore[operator]
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, source = self._listener.accept()
            except OSError:
                return
            if not self._take(near):
                return
            self._start(self._lead, near, source, name=f"edge-forward-{source[1]}")

    def _lead(self, near: socket.socket, source: tuple[str, int]) -> None:
        """One connection, both ways, until both have ended."""
        try:
            far = self._transport.open_channel(
                "direct-tcpip", ("127.0.0.1", self.remote_port), source[:2], timeout=self._timeout_s
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.refused = str(error) or type(error).__name__
            self._let_go(near)
            return
        if self._take(far):
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(_pump, far, near, name=f"edge-forward-{source[1]}-back")
            _pump(near, far)
            with self._lock:
                back = [t for t in self._threads if t.name == f"edge-forward-{source[1]}-back"]
            for thread in back:
                thread.join()
        self._let_go(near)
        self._let_go(far)

    def _take(self, end: socket.socket | paramiko.Channel) -> bool:
        """Note an open end; False when everything is being closed."""
        with self._lock:
            if not self._closed:
                self._ends.add(end)
                return True
        _end(end)
        return False

    def _let_go(self, end: socket.socket | paramiko.Channel) -> None:
        with self._lock:
            self._ends.discard(end)
        _end(end)


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortTaken(port=port, address="127.0.0.1") from error
    return listener


def _pump(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    """Copy until the source ends, then tell the sink so; where either breaks, both end."""
    try:
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
        if isinstance(sink, paramiko.Channel):
            end_of_input(sink)
        else:
            sink.shutdown(socket.SHUT_WR)
    except (OSError, EOFError):
        _end(source)
        _end(sink)


def _end(end: socket.socket | paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError):
        if isinstance(end, socket.socket):
            end.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError, EOFError):
        end.close()
