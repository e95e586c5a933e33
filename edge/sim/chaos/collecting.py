"""The collecting side of a run: the fleet folder's collector and the broker that it started.

The rule: both are what commands start and stop, in a fleet folder of the run's own.
"""

from __future__ import annotations

import contextlib
import json
import signal

from agent.contract.errors import ChaosFailed, EdgeError
from edge.collector import client
from edge.collector.broker import STATE
from edge.collector.leash import end_stale, runs
from edge.collector.records import LOG, enrolled_id
from edge.config import FleetFolder
from edge.sim.chaos.parts import ended, kill_and_wait, last_words, send


class Broker:
    """The broker that the collector started, and starts again."""

    def __init__(self, fleet: FleetFolder) -> None:
        self._folder = fleet.telemetry / "broker"

    def start(self) -> None:
        """Nothing: that it comes again is the collector's matter."""

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def stall(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it where a killed collector left it."""
        if (pid := self._last().get("pid")) is not None:
            end_stale(pid, self._folder)

    @property
    def port(self) -> int:
        """Where it listens, or did last."""
        return self._last().get("port", 0)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._last().get("pid")
        if pid is not None and runs(pid, self._folder):
            send(pid, number)

    def _last(self) -> dict[str, int]:
        with contextlib.suppress(OSError, ValueError):
            plain: dict[str, int] = json.loads((self._folder / STATE).read_bytes())
            return plain
        return {}


class Collector:
    """The fleet folder's collector, which starts its broker too."""

    def __init__(self, fleet: FleetFolder) -> None:
        self._fleet = fleet
        self._pid: int | None = None

    @property
    def id(self) -> str:
        """Whose acknowledgements count."""
        return enrolled_id(self._fleet)

    def start(self) -> None:
        self._pid = client.ensure(self._fleet).pid

    def repeated(self) -> dict[int, int]:
        """How many samples and events came again to the collector that runs, by its process; empty where none does."""
        try:
            status = client.status(self._fleet)
        except EdgeError:
            return {}
        return {status.pid: status.repeated}

    def check(self) -> None:
        """See that it did not end by itself.

        Raises:
            ChaosFailed: it did.
        """
        pid = self._pid
        if pid is None or not ended(pid) or self._pid != pid:  # it is being killed
            return
        words = last_words(self._fleet.telemetry / LOG)
        raise ChaosFailed(part="collector", reason=f"it ended by itself: {words}")

    def kill(self) -> None:
        pid, self._pid = self._pid, None
        if pid is not None:
            kill_and_wait(pid)

    def stall(self) -> None:
        if self._pid is not None:
            send(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        if self._pid is not None:
            send(self._pid, signal.SIGCONT)

    def end(self) -> None:
        """Stop it as a user would, and kill it where that does not help."""
        try:
            client.stop(self._fleet)
            self._pid = None
        except EdgeError:
            self.kill()
        except BaseException:
            self.kill()
            raise
