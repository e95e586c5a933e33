"""A port of the board's loopback that leads to a port here, through one SSH connection: the way back for telemetry.

The rule: one thread leads all that comes through it, and ends by itself when the connection is dead. Dead is one that
does not answer: the connection is asked regularly, and at once when this machine woke up, since neither side is told
when a laptop moved to another network.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

import paramiko
from paramiko.common import cMSG_GLOBAL_REQUEST

from agent.contract.errors import ConnectionLost, DeadlinePassed, ForwardingRefused
from edge.fleet.connection import Board
from edge.fleet.lane import Lane
from edge.fleet.wake import Wake
from edge.fleet.watchdog import Watchdog

HERE = "127.0.0.1"
CLOSED = "it was closed"
ASK_S = 15.0
"""So often the connection is asked whether it lives."""
ANSWER_S = 10.0
LOOK_S = 2.0
"""So often a connection without traffic is looked at."""
FULL_S = 0.02
"""The library does not say when the board takes more: so often it is tried while there is something to send."""
MOST_LANES = 16
"""Connections at once; the agent needs one, and every local user of the board may open some."""
QUIET_S = 1.0
"""How often the library's thread looks whether it shall end; its own ten times a second add up over many boards."""


class ReverseForward:
    """Leads each connection to the board's `127.0.0.1:remote_port` to a port here.

    Attributes:
        remote_port: on the board; any free one, since boards that share a loopback share its ports.
    """

    def __init__(self, board: Board, target: Callable[[], int | None]) -> None:
        """Ask the board for a port.

        Args:
            board: the connection; it is this forward's from now on.
            target: the port here, asked for each connection; None while there is none.

        Raises:
            ForwardingRefused: the board's sshd does not forward.
            ConnectionLost, DeadlinePassed: on the way.
        """
        self._transport = board.transport
        self._target = target
        self._arrived: deque[paramiko.Channel] = deque()
        self._lanes: dict[int, Lane] = {}
        self._closed = self._led = False
        self._lock = threading.Lock()  # of the pipe's ends: a number that was closed may be another file's
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        try:
            self.remote_port = ask_for_port(board, self._arrive)
        except BaseException:
            self._close_pipe()
            raise
        self._transport.set_keepalive(0)  # asks without waiting for an answer; here it is waited for
        self._transport.sock.settimeout(QUIET_S)

    def serve(self) -> str:
        """Lead what comes until the connection has ended; returns why. Called once, by one thread."""
        with self._lock:
            self._led = not self._closed
        if not self._led:
            return CLOSED
        asking = _Asking(self._transport)
        wake = Wake()
        try:
            while not self._closed:
                if not self._transport.is_active():
                    return _last_words(self._transport)
                pause_s = self._pause(asking.next_in())
                asking.look(slept=wake.slept(pause_s))
                if asking.unanswered:
                    return f"no answer within {ANSWER_S:g} s"
            return CLOSED
        except (OSError, EOFError, paramiko.SSHException) as error:
            return str(error) or type(error).__name__
        finally:
            for lane in self._lanes.values():
                lane.end()
            self._closed = True
            self._close_pipe()

    def close(self) -> None:
        """Let `serve` end soon, or never begin; may be called by any thread."""
        with self._lock:
            self._closed = True
            led = self._led
        if led:
            self._wake()
        else:
            self._close_pipe()

    # -- one thread leads, the library's thread only says that something arrived -------------------------

    def _arrive(self, channel: paramiko.Channel, _origin: object, _server: object) -> None:
        self._arrived.append(channel)
        self._wake()

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it is awake already
            if self._wake_in >= 0:
                os.write(self._wake_in, b"\0")

    def _pause(self, longest_s: float) -> float:
        """Wait until something can be done, and do it; how long the wait might have been."""
        waiting = select.poll()
        waiting.register(self._wake_out, select.POLLIN)
        for lane in self._lanes.values():
            for descriptor, events in lane.wanted():
                waiting.register(descriptor, events)
        full = any(lane.waits_for_board for lane in self._lanes.values())
        seconds = FULL_S if full else min(longest_s, LOOK_S)
        ready = {descriptor for descriptor, _ in waiting.poll(seconds * 1000)}
        if self._wake_out in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_out, 4096)
        for key, lane in list(self._lanes.items()):
            if not lane.move():
                lane.end()
                del self._lanes[key]
        while self._arrived:
            self._open(self._arrived.popleft())
        return seconds

    def _open(self, channel: paramiko.Channel) -> None:
        port = self._target()
        lane = (
            Lane.open(channel, (HERE, port)) if port is not None and len(self._lanes) < MOST_LANES else None
        )
        if lane is None:
            channel.close()
        else:
            self._lanes[id(lane)] = lane

    def _close_pipe(self) -> None:
        with self._lock:
            if self._wake_in >= 0:
                os.close(self._wake_in)
                os.close(self._wake_out)
            self._wake_in = self._wake_out = -1


class _Asking:
    """Whether the other side answers.

    Attributes:
        unanswered: it did not, in time.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        self.unanswered = False
        self._transport = transport
        self._answer: threading.Event | None = None
        self._due = time.monotonic() + ASK_S

    def next_in(self) -> float:
        """Seconds until `look` has something to do."""
        return max(0.0, self._due - time.monotonic())

    def look(self, *, slept: bool) -> None:
        """Ask when it is time; `slept`: what was asked before may have been answered to nobody, so now is the time."""
        now = time.monotonic()
        if self._answer is not None and self._answer.is_set():
            self._answer = None
            self._due = now + ASK_S
        if slept or (self._answer is None and now >= self._due):
            self._answer = _ask(self._transport)
            self._due = now + ANSWER_S
        self.unanswered = self._answer is not None and now >= self._due


def ask_for_port(
    board: Board, arrive: Callable[[paramiko.Channel, object, object], None], *, port: int = 0
) -> int:
    """Let the board listen on a port of its loopback; which one it is.

    Raises:
        ForwardingRefused: its sshd does not forward.
        ConnectionLost, DeadlinePassed: on the way.
    """
    seconds = board.timeouts.handshake_s
    transport = board.transport
    watchdog = Watchdog(seconds, transport.close)
    try:
        with watchdog:
            return int(transport.request_port_forward(HERE, port, arrive))
    except (paramiko.SSHException, EOFError, OSError) as error:
        if watchdog.barked:
            raise DeadlinePassed(host=board.name, doing="asking for a port", timeout_s=seconds) from error
        if not transport.is_active():
            raise ConnectionLost(host=board.name, doing="asking for a port") from error
        raise ForwardingRefused(device=board.name, reason="its sshd forbids it") from error


def _ask(transport: paramiko.Transport) -> threading.Event:
    """A question that any SSH server answers, if only with no; set when it did."""
    # `global_request(wait=True)` would stand still until the answer: this is its first half
    answered = transport.completion_event = threading.Event()
    question = paramiko.Message()
    question.add_byte(cMSG_GLOBAL_REQUEST)
    question.add_string("keepalive@openssh.com")
    question.add_boolean(True)
    transport._send_user_message(question)  # type: ignore[attr-defined]
    return answered


def _last_words(transport: paramiko.Transport) -> str:
    error = transport.get_exception()
    return str(error) if error is not None and str(error) else "the connection ended"
