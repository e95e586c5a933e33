"""What the agent says of itself: to the update process, to people, to Prometheus and to the link.

The rule: it is read off what is there when it is asked for; nothing is kept for it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agent import __version__
from agent.config import BoardFolder
from agent.contract.board import BoardConfig, RunningAgent
from agent.contract.codec import encode
from agent.contract.door import DoorState
from agent.contract.errors import EdgeError
from agent.metrics import Exposition, expose_board, expose_models
from agent.serving.catalog import Catalog
from agent.serving.served import Served
from agent.serving.strain import Strain, strain_of
from agent.system import BoardReader, memory_limit_bytes, rss_bytes

LOG = logging.getLogger("agent")


class Standing:
    """How one start of the agent stands.

    Args:
        folder, config: the board's. catalog: what is served. board: reads the board's counters.

    Attributes:
        boot: names this start, 16 hexadecimal digits. started: when, seconds since 1970.
        generation: the number that the update process is told: of what is served, or of what is being loaded.
        swap: how what is served came in the place of what was: `gap` tells whether requests waited, and `reason` why;
            None before a swap.
        port: where it listens; 0 before it does.
        door: how the way in from other machines stands.
        over_limit: it uses more memory than it may. strain: what the board suffers from.
    """

    def __init__(
        self, folder: BoardFolder, config: BoardConfig, catalog: Catalog, board: BoardReader
    ) -> None:
        self.boot = os.urandom(8).hex()
        self.started = time.time()
        self.generation = 0
        self.swap: Mapping[str, Any] | None = None
        self.port = 0
        self.door: DoorState | None = None
        self.over_limit = False
        self.strain = Strain()
        self._said: tuple[bool, EdgeError | None] = (False, None)
        self._seen: tuple[bool, EdgeError | None] = self._said
        self._folder = folder
        self._config = config
        self._catalog = catalog
        self._board = board

    def say(self, *, ready: bool = False, error: EdgeError | None = None) -> None:
        """Write `run/agent.json`, whole or not at all. Where it can't be written, serving goes on all the same."""
        running = RunningAgent(
            pid=os.getpid(),
            boot=self.boot,
            generation=self.generation,
            port=self.port,
            started=self.started,
            ready=ready,
            error=error.to_plain() if error is not None else None,
            door=self.door,
        )
        self._said = ready, error
        path = self._folder.running
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(exist_ok=True)
            fresh.write_bytes(encode(running))
            fresh.replace(path)
        except OSError as failure:
            LOG.error("`%s` can't be written: %s", path, failure.strerror)

    def door_stands(self, door: DoorState | None) -> None:
        """Say so, and all else as before."""
        self.door = door
        ready, error = self._said
        self.say(ready=ready, error=error)

    def status(self, *, connections: int, telemetry: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """For people and programs that ask at `/edge/v1/status`."""
        error = self._catalog.first_error
        return {
            "fleet": self._config.fleet,
            "device": self._config.device,
            "agent_version": __version__,
            "pid": os.getpid(),
            "boot": self.boot,
            "started": self.started,
            "generation": self._catalog.generation,
            "title": self._catalog.title,
            "ready": self._catalog.ready,
            "error": error.to_plain() if error is not None else None,
            "swap": self.swap,
            "connections": connections,
            "telemetry": telemetry,
            "strain": asdict(self.strain),
            "models": [_model(served) for served in self._catalog.index()],
        }

    def counters(self) -> list[dict[str, Any]]:
        """Each model's, for the link's thread: as `ModelCounters` in plain values."""
        return [
            served.metrics.plain(served.name, served.release, served.waiting)
            for served in self._catalog.index()
        ]

    def models(self) -> list[dict[str, Any]]:
        """What is served, for the link's thread."""
        return [
            {"name": served.name, "release": served.release, "bundle": served.bundle, "state": served.state}
            for served in self._catalog.index()
        ]

    def exposition(self, *, connections: int) -> bytes:
        """The text of `/metrics`."""
        to = Exposition()
        enforced = memory_limit_bytes() is not None
        facts = (
            ("ready", "Every model is loaded.", int(self._catalog.ready)),
            ("generation", "Number of the generation that is served.", self._catalog.generation),
            ("start_time_seconds", "When the agent started, since 1970.", self.started),
            ("connections", "Clients connected.", connections),
            ("memory_limit_bytes", "What the agent may use.", self._limit_bytes),
            ("memory_limit_enforced", "The kernel enforces a memory limit.", int(enforced)),
            ("memory_over_limit", "The agent uses more than it may.", int(self.over_limit)),
            ("board_hot", "The board is too hot: no request waits.", int(self.strain.hot)),
            ("board_slowed", "Its firmware slows the board down.", int(self.strain.slowed)),
            ("board_short_of_memory", "Memory is short: no batches.", int(self.strain.short)),
        )
        expose_board(to, self._board.counters(), facts)
        expose_models(to, [served.sample() for served in self._catalog.index()])
        return to.text()

    def look(self) -> None:
        """See what strains the board, have its models bear it, and say so when that changes."""
        self._check_memory()
        before = self.strain
        self.strain = strain_of(before, over_limit=self.over_limit, **self._board.pressing())
        if self.strain != before:
            LOG.warning("the board %s", self.strain.condition or "is well again")
        for served in self._catalog.index():
            served.bear(self.strain)
        self._check_models()

    def _check_models(self) -> None:
        """A model that was loaded by itself may have failed since the last look, or be back."""
        catalog = self._catalog
        if catalog.loading or catalog.changing.locked() or self.generation != catalog.generation:
            return
        before, self._seen = self._seen, (catalog.ready, catalog.first_error)
        if self._seen not in (before, self._said):
            self.say(ready=catalog.ready, error=catalog.first_error)

    def _check_memory(self) -> None:
        """Say so when the agent needs more memory than it may, which not every kernel enforces."""
        used = rss_bytes()
        if (used > self._limit_bytes) != self.over_limit:
            self.over_limit = used > self._limit_bytes
            words = "uses more memory than it may" if self.over_limit else "is below its memory limit again"
            LOG.warning("the agent %s: %d MiB of %d MiB", words, used >> 20, self._limit_bytes >> 20)

    @property
    def _limit_bytes(self) -> int:
        return self._config.memory_limit_mib * 1024 * 1024


def _model(served: Served) -> dict[str, Any]:
    model = served.model
    return {
        "name": served.name,
        "release": served.release,
        "bundle": served.bundle,
        "role": served.role,
        "share": served.share,
        "state": served.state,
        "error": served.error.to_plain() if served.error is not None else None,
        "engine": model.engine if model is not None else None,
        **served.status(),
        "counters": served.metrics.plain(served.name, served.release, served.waiting),
    }
