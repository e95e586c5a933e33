"""One command on a board: bytes in, bytes out, an exit status, and an end in any case.

The rule: Fabric's runner reads this process's standard input, decodes what may be binary, and opens sessions that
wait an hour on a dead link; so a command here is a bare channel under a watchdog. Nothing is started that outlives
the call, whatever exception ends it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import paramiko

from agent.contract.errors import ConnectionLost, DeadlinePassed, EdgeError
from edge.fleet.end_of_input import end_of_input
from edge.fleet.watchdog import Watchdog

PIECE_BYTES = 32 * 1024
TICK_S = 0.02
GRACE_S = 2.0


@dataclass(frozen=True)
class CommandResult:
    """How a command ended.

    Attributes:
        status: exit status; -1 when a signal ended it.
        stdout, stderr: what it wrote.
        interrupted: Ctrl-C ended its input; see `converse`.
    """

    status: int
    stdout: bytes
    stderr: bytes
    interrupted: bool = False

    @property
    def last_words(self) -> str:
        """The last line that it wrote to standard error, else to standard output, at most 300 characters."""
        for stream in (self.stderr, self.stdout):
            lines = stream.decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()[:300]
        return "it said nothing"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a command may take, in seconds; None for no limit.

    Attributes:
        whole_s: from start to exit.
        stall_s: without a byte in either direction.
    """

    whole_s: float | None = None
    stall_s: float | None = None


def converse(
    transport: paramiko.Transport,
    command: str,
    *,
    host: str,
    doing: str,
    limits: Limits,
    given: Iterable[bytes] = (),
    on_output: Callable[[bytes], None] | None = None,
    attended: bool = False,
) -> CommandResult:
    """Run `command`, feed it `given`, and collect what it says.

    Args:
        transport: an authenticated connection.
        command: for the user's shell on the board.
        host: how sentences call the board.
        doing: what was going on, behind `while`.
        limits: when to give up. Passing `stall_s` ends the whole connection, passing `whole_s` this command.
        given: its standard input, in pieces; taken from only as fast as the board reads.
        on_output: gets its standard output piece by piece; without it the result holds it.
        attended: its standard input stays open after `given`, until Ctrl-C, which ends that and waits for what the
            command says then; a second one raises.

    Raises:
        DeadlinePassed: a limit was passed.
        ConnectionLost: the connection ended before the command did.
    """
    hard = min(limits.stall_s or 1e9, (limits.whole_s or 1e9) + GRACE_S)
    watchdog = Watchdog(hard, transport.close)
    channel: paramiko.Channel | None = None
    try:
        with watchdog:
            channel = transport.open_session(timeout=min(hard, 60.0))
            channel.exec_command(command)
            return _Conversation(channel, watchdog, limits, on_output, attended).hold(given)
    except _Passed as passed:
        raise DeadlinePassed(host=host, doing=doing, timeout_s=f"{passed.seconds:g}") from None
    except EdgeError:
        raise
    except (paramiko.SSHException, EOFError, OSError) as error:
        if watchdog.barked:
            raise DeadlinePassed(host=host, doing=doing, timeout_s=f"{hard:g}") from error
        raise ConnectionLost(host=host, doing=doing) from error
    finally:
        if channel is not None and not channel.closed and transport.is_active():
            with suppress(EOFError, OSError), Watchdog(GRACE_S, transport.close):
                channel.close()  # a connection that just broke has nothing to close


class _Passed(Exception):
    """The whole time was over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class _Conversation:
    """The loop of `converse`."""

    def __init__(
        self,
        channel: paramiko.Channel,
        watchdog: Watchdog,
        limits: Limits,
        on_output: Callable[[bytes], None] | None,
        attended: bool,
    ) -> None:
        self._channel = channel
        self._watchdog = watchdog
        self._stalls = limits.stall_s is not None
        self._whole_s = limits.whole_s
        self._deadline = time.monotonic() + limits.whole_s if limits.whole_s is not None else None
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._on_output = on_output or self._stdout.extend
        self._attended = attended
        self._interrupted = False
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def hold(self, given: Iterable[bytes]) -> CommandResult:
        """Talk until the command has ended."""
        pieces = _pieces(given)
        piece = next(pieces, None)
        told_end = False
        while not self._heard_all():
            if piece is not None and self._channel.send_ready() and not self._channel.eof_received:
                piece = self._send(piece) or next(pieces, None)
                continue
            if piece is None and not told_end and not self._attended and not self._channel.closed:
                end_of_input(self._channel)
                told_end = True
            try:
                self._wait(TICK_S if piece is not None else 0.5)
            except KeyboardInterrupt:
                if not self._attended:
                    raise
                self._attended, self._interrupted = False, True
        return CommandResult(self._status(), bytes(self._stdout), bytes(self._stderr), self._interrupted)

    def _send(self, piece: memoryview) -> memoryview | None:
        """Send what the window takes; what is left, or None."""
        try:
            sent = self._channel.send(piece)  # type: ignore[arg-type]
        except OSError:  # the command went away without reading on: its output and status tell why
            if not self._channel.get_transport().is_active():
                raise
            return None
        self._went_on()
        return piece[sent:] if sent < len(piece) else None

    def _heard_all(self) -> bool:
        """Read what is there; whether that was the end."""
        ended = bool(self._channel.eof_received or self._channel.closed)
        while self._channel.recv_ready():
            self._on_output(self._channel.recv(1 << 20))
            self._went_on()
        while self._channel.recv_stderr_ready():
            self._stderr.extend(self._channel.recv_stderr(1 << 20))
            self._went_on()
        del self._stderr[: -(1 << 20)]
        return ended

    def _wait(self, seconds: float) -> None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise _Passed(self._whole_s or 0.0)
            seconds = min(seconds, left)
        self._poll.poll(seconds * 1000)

    def _went_on(self) -> None:
        if self._stalls:
            self._watchdog.touch()

    def _status(self) -> int:
        left = None if self._deadline is None else max(0.1, self._deadline - time.monotonic())
        if not self._channel.status_event.wait(left):
            raise _Passed(self._whole_s or 0.0)
        transport = self._channel.get_transport()
        if self._channel.exit_status == -1 and not transport.is_active():
            raise EOFError("the connection ended before the command")
        return int(self._channel.exit_status)


def _pieces(given: Iterable[bytes]) -> Iterator[memoryview]:
    """Non-empty pieces as one packet carries them."""
    for part in given:
        view = memoryview(part)
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
