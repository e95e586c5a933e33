"""What keeps the agent running on a board: its logs, its start where nothing else starts it, and its removal."""

from __future__ import annotations

from collections.abc import Callable

from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD_USER
from agent.contract.errors import BoardNotFlashed, InstallFailed, RemoteCommandFailed, SudoRefused
from edge.fleet.connection import Board
from edge.fleet.install import Placement
from edge.fleet.onboard import script
from edge.fleet.remote_error import raise_remote
from edge.fleet.session import CommandResult, Limits
from edge.fleet.sudo import SudoWay

UNITS = "edge-*"
_TAIL = 'cd "$1" 2>/dev/null || exit 44; ls *.log >/dev/null 2>&1 || exit 44; exec tail "$2" "$3" $4 -- *.log'
_SUPERVISE = (
    'cd / && nohup python3 -I "$1/bin/launch.py" supervise </dev/null >>"$1/run/supervisor.log" 2>&1 &'
)
NO_LOGS = 44
NO_UNITS = b"Failed to add filter for units: No data available"


def logs(
    board: Board,
    placement: Placement,
    *,
    lines: int = 200,
    follow: bool = False,
    on_line: Callable[[str], None],
) -> None:
    """Give the last lines of the agent's and the updater's logs, oldest first.

    Args:
        board: the connection.
        placement: where edge lives on it.
        lines: how many of the last lines.
        follow: go on with new ones until interrupted.
        on_line: gets each line.

    Raises:
        BoardNotFlashed: there are no logs.
        SudoRefused: the journal is open to root alone, and root was refused.
    """
    writer = _Lines(on_line)
    limits = Limits() if follow else Limits(whole_s=board.timeouts.command_s)
    if placement.service == SERVICE_SUPERVISOR:
        argv = ["sh", "-c", _TAIL, "sh", f"{placement.root}/run", "-n", str(lines), "-F" if follow else ""]
        ended = board.stream(argv, limits=limits, doing="reading its logs", on_output=writer.take)
        if ended.status == NO_LOGS:
            raise BoardNotFlashed(device=board.name)
    else:
        argv = [
            "env",
            "LC_ALL=C",
            "journalctl",
            "--no-pager",
            "--output=short-iso",
            f"--lines={lines}",
            f"--unit={UNITS}",
        ]
        argv += ["--user"] if placement.service == SERVICE_SYSTEMD_USER else []
        argv += ["--follow"] if follow else []
        sudo = placement.sudo and not _reads_journal(board)
        ended = board.stream(argv, limits=limits, doing="reading its logs", on_output=writer.take, sudo=sudo)
    if NO_UNITS in ended.stderr:
        raise BoardNotFlashed(device=board.name)
    writer.end()
    if ended.status not in (0, -1):
        raise InstallFailed(host=board.name, step="reading its logs", reason=ended.last_words)


def wake(board: Board, root: str) -> None:
    """Start edge's own supervisor, which nothing starts when the board boots. Where one runs, this changes nothing.

    Raises:
        RemoteCommandFailed: it can't be started.
    """
    doing = "starting edge's own supervisor"
    ended = board.run(["sh", "-c", _SUPERVISE, "sh", root], doing=doing)
    if ended.status != 0:
        raise RemoteCommandFailed(host=board.name, doing=doing, status=ended.status, output=ended.last_words)


def remove(board: Board, placement: Placement, *, wipe: bool) -> None:
    """Stop the agent and take it off the board; with `wipe` its folder, keys and models too.

    Raises:
        SudoRefused: root is needed and refused.
        InstallFailed: something of ours is left; the sentence says what.
    """
    launcher = f"{placement.root}/bin/launch.py"
    if board.run(["test", "-e", launcher]).status == 0:
        argv = ["python3", "-I", launcher, "remove", *(["--wipe"] if wipe else [])]
        ended = board.run(argv, sudo=placement.sudo, timeout_s=300.0, doing="removing the agent")
        if ended.status != 0:
            _fail(board, ended)
    elif wipe:
        board.python(
            script("clear"), {"root": placement.root}, doing="clearing its inbox", sudo=placement.sudo
        )
    if wipe and board.run(["test", "-e", placement.root]).status == 0:
        raise InstallFailed(host=board.name, step="removal", reason=f"`{placement.root}` is still there")


def _fail(board: Board, ended: CommandResult) -> None:
    answer = {
        "status": ended.status,
        "stdout": ended.stdout.decode(errors="replace"),
        "stderr": ended.stderr.decode(errors="replace"),
    }
    raise_remote(answer, host=board.name, step="removal")


def _reads_journal(board: Board) -> bool:
    """Whether this user may read the system's journal without root."""
    groups = board.run(["id", "-nG"]).stdout.decode(errors="replace").split()
    if {"adm", "systemd-journal", "root"} & set(groups):
        return True
    if board.way_to_root() is SudoWay.NONE:
        raise SudoRefused(
            host=board.name,
            user=board.user,
            reason="only the groups adm and systemd-journal read the journal",
        )
    return False


class _Lines:
    """Bytes to lines."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))

    def end(self) -> None:
        if self._rest:
            self._on_line(self._rest.decode(errors="replace"))
