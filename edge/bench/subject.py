"""What is loaded: a model somewhere that the agent's own `bench` can be run for.

The rule: the load is always made by the agent's own generator, on the board itself, or here as a process of its own.
No window is measured through SSH.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.contract.codec import decode
from agent.contract.errors import ContractError, RemoteCommandFailed
from agent.contract.load import LoadReport
from edge.bench.window import Window
from edge.fleet.remote_error import error_of

START_S = 60.0
"""For the process to start and the engine to load."""


@dataclass(frozen=True)
class Ended:
    """How a run of the agent's command line ended."""

    status: int
    stdout: str
    stderr: str


Run = Callable[[Sequence[str], float], Ended]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One of what is measured side by side.

    Attributes:
        title: like `digits@2 on pi-1`. place: where the load is made, for sentences.
        arguments: what the agent's `bench` needs to find it.
        run: the agent's command line with these arguments, ended after so many seconds at the latest.
    """

    title: str
    place: str
    arguments: tuple[str, ...]
    run: Run

    def measure(self, window: Window) -> LoadReport:
        """One window.

        Raises:
            EdgeError: the agent's own, as it said it.
            RemoteCommandFailed: it ended otherwise, or says what this version does not understand.
            DeadlinePassed, ConnectionLost: on the way to the board.
        """
        ended = self.run(
            ["bench", *self.arguments, *window.arguments(), "--json"], window.longest_s + START_S
        )
        lines = ended.stdout.strip().splitlines()
        if ended.status == 0 and lines:
            try:
                return decode(LoadReport, lines[-1].encode())
            except ContractError as error:
                raise self._failed(ended.status, str(error)) from error
        told = error_of(ended.stdout)
        if told is not None:
            raise told
        said = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if "unrecognized arguments" in said or "invalid choice" in said:
            said += "; the board's agent is older than this: flash it again"
        raise self._failed(ended.status, said)

    def _failed(self, status: int, said: str) -> RemoteCommandFailed:
        return RemoteCommandFailed(host=self.place, doing="the load test", status=status, output=said)


def run_here(arguments: Sequence[str], timeout_s: float) -> Ended:
    """Run the agent's command line on this machine, with this Python."""
    command = [sys.executable, "-I", "-m", "agent", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Ended(-1, "", f"it did not finish within {timeout_s:g} s")
    return Ended(done.returncode, done.stdout, done.stderr)
