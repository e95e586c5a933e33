"""What is loaded: a model somewhere, and how one window of load on it is measured.

The rule: the load is made by the agent's own generator, on the board itself, or here as a process of its own; over
MQTT by this process (`edge.bench.over_mqtt`). No window is measured through SSH. When it is interrupted, the generator
is asked for what it has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from agent.contract.codec import decode
from agent.contract.errors import ContractError, RemoteCommandFailed
from agent.contract.load import LoadReport
from edge.bench.window import DRAIN_S, Window
from edge.fleet.remote_error import agents_words, error_of

START_S = 60.0
"""For the process to start and the engine to load."""
ATTENDED = "--attended"
"""The agent's option for ending with its standard input."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How a run of the agent's command line ended. `interrupted`: by Ctrl-C, and it told what it had."""

    status: int
    stdout: str
    stderr: str
    interrupted: bool = False


Run = Callable[[Sequence[str], float], Ended]
"""The agent's command line with these arguments, ended after so many seconds at the latest."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One of what is measured side by side.

    Attributes:
        title: like `digits@2 on pi-1`.
        measure: one window. Raises what `Generator` does.
    """

    title: str
    measure: Callable[[Window], LoadReport]


@dataclass(frozen=True, kw_only=True)
class Generator:
    """The agent's own generator somewhere.

    Attributes:
        place: for sentences.
        arguments: what the agent's `bench` needs to find the model.
        run: its command line there.
    """

    place: str
    arguments: tuple[str, ...]
    run: Run

    def __call__(self, window: Window) -> LoadReport:
        """One window.

        Raises:
            EdgeError: the agent's own, as it said it; `Interrupted` where there is nothing to tell yet.
            RemoteCommandFailed: it ended otherwise, or says what this version does not understand.
            DeadlinePassed, ConnectionLost: on the way to the board.
        """
        report, interrupted = self.told(LoadReport, window.arguments(), window.longest_s)
        return replace(report, cut=report.cut or interrupted)

    def told(self, kind: type[T], arguments: Sequence[str], seconds: float) -> tuple[T, bool]:
        """What the agent's `bench` prints, with these arguments too, after so many seconds; and whether it was
        interrupted. Raises as a call does."""
        ended = self.run(["bench", *self.arguments, *arguments, "--json"], seconds + START_S)
        lines = ended.stdout.strip().splitlines()
        if ended.status == 0 and lines:
            try:
                return decode(kind, lines[-1].encode()), ended.interrupted
            except ContractError as error:
                raise self._failed(ended.status, str(error)) from error
        told = error_of(ended.stdout)
        if told is not None:
            raise told
        raise self._failed(ended.status, agents_words(ended.stderr, ended.status))

    def _failed(self, status: int, said: str) -> RemoteCommandFailed:
        return RemoteCommandFailed(host=self.place, doing="the load test", status=status, output=said)


def run_here(arguments: Sequence[str], timeout_s: float) -> Ended:
    """Run the agent's command line on this machine, with this Python, in a session of its own: Ctrl-C is for us."""
    command = [sys.executable, "-I", "-m", "agent", *arguments, ATTENDED]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        command,
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.close(reading)
    interrupted = False
    with process, os.fdopen(writing, "wb") as attended:
        try:
            try:
                output, talk = process.communicate(timeout=timeout_s)
            except KeyboardInterrupt:
                interrupted = True
                attended.close()
                output, talk = process.communicate(timeout=2 * DRAIN_S)
        except subprocess.TimeoutExpired:
            return Ended(-1, "", f"it did not finish within {timeout_s:g} s")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    return Ended(process.returncode, output, talk, interrupted)
