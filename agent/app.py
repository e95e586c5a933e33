"""The serving agent: what is wired to what, and in which order it starts and ends.

The rule of the start: listen and answer `/v2/health/live` before anything heavy is imported; load models in a thread;
ready when each has answered once. Of the end: SIGTERM gives the answers under way and exits. SIGHUP has it serve what
the links name now: in this process where that can be (`agent.loading`), else it executes the launcher anew, with the
listening socket and the clients' connections handed over, so that a swap of generations refuses nobody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__, logs
from agent.config import BoardFolder, read_config
from agent.contract.board import BoardConfig
from agent.contract.errors import EdgeError
from agent.handover import reason_of_gap, start_anew
from agent.link.link import Link
from agent.link.subject import Subject
from agent.loading import Loading
from agent.serving.asking import Asking
from agent.serving.cache import ResultCache
from agent.serving.catalog import Catalog
from agent.serving.entrances import Entrances
from agent.serving.loader import Loader
from agent.serving.routes import Routes
from agent.signals import SIGNALS
from agent.standing import Standing
from agent.system import BoardReader, tell_systemd

if TYPE_CHECKING:
    from agent.stream.stream import Stream

DRAIN_S = 10.0
SETTLE_S = 0.01
"""For signals that have come to be seen."""
LOOK_S = 5.0
"""Between looks at what strains the board, and whether it is to look at something itself."""

LOG = logging.getLogger("agent")


def main(root: Path, *, generation: int | None = None) -> int:
    """Serve until a signal ends it.

    Args:
        root: the board's folder.
        generation: its number; None follows the links `trial` and `current`.

    Returns:
        0 after SIGTERM or SIGINT.

    Raises:
        AgentConfigInvalid, AgentExposed, PortTaken: it can't begin; `run/agent.json` says so, too.
    """
    folder = BoardFolder(root.resolve())
    config = read_config(folder)
    logs.begin(config)
    agent = Agent(folder, config, generation)
    try:
        entrances = Entrances(folder, config)
    except EdgeError as error:
        agent.can_not_begin(error)
        raise
    asyncio.run(agent.serve(entrances))
    return 0


class Agent:
    """One start of the agent.

    Args:
        folder: the board's. config: as enrolment wrote it. generation: which to serve, None for what is linked.
    """

    def __init__(self, folder: BoardFolder, config: BoardConfig, generation: int | None) -> None:
        self._folder = folder
        self._config = config
        loader = Loader(folder, config)
        self._catalog = Catalog(loader, ResultCache(config.cache_mib << 20) if config.cache_mib else None)
        self._board = BoardReader(folder.root)
        self._standing = Standing(folder, config, self._catalog, self._board)
        self._loading = Loading(
            folder, config, generation, catalog=self._catalog, loader=loader, standing=self._standing
        )
        gap = reason_of_gap()
        if gap is not None:
            self._standing.swap = {"gap": True, "reason": gap}
        self._stream: Stream | None = None
        self._ended = asyncio.Event()
        self._asked = asyncio.Event()
        self._again = False
        self._reason = "a signal that came while it ended"

    def can_not_begin(self, error: EdgeError) -> None:
        """Say so to the update process."""
        self._loading.find()
        self._standing.port = self._config.port
        self._standing.say(error=error)

    async def serve(self, entrances: Entrances) -> None:
        """Answer whoever comes through `entrances` until a signal comes."""
        loop = asyncio.get_running_loop()
        # Threads inherit the mask: signals are for this one alone, so that none is lost when it hands over.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        routes = Routes(
            self._catalog,
            version=__version__,
            body_bytes=entrances.limits.body_bytes,
            exposition=lambda: self._standing.exposition(connections=len(entrances)),
            status=lambda: self._standing.status(connections=len(entrances), telemetry=self._link.status()),
        )
        self._asking = Asking(loop, routes, entrances.limits.body_bytes)
        self._link = self._make_link(self._asking)
        self._standing.port = entrances.port
        await entrances.open(routes, self._standing.door_stands)
        for number in SIGNALS:
            loop.add_signal_handler(number, self._end, number == signal.SIGHUP)
        found = self._loading.find()
        self._standing.say()
        tell_systemd("READY=1")
        self._keep_alive(loop)
        loop.call_later(LOOK_S, self._look, loop)
        LOG.info(
            "listening on %s port %d, generation %d",
            self._config.address,
            self._standing.port,
            self._standing.generation,
        )
        following = loop.create_task(self._follow(found))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

        await self._ended.wait()

        following.cancel()
        self._link.end()
        if self._stream is not None:
            self._stream.end()
        if self._again:
            self._tell_reloading()
            await entrances.park(DRAIN_S)
            # A signal that comes from here on waits for the process that can take it; one that came is seen below.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            await asyncio.sleep(SETTLE_S)
            if self._again:
                self._wait_for_threads()
                LOG.info("starting anew, with %d clients", len(entrances))
                start_anew(self._folder, entrances.hand_over(), reason=self._reason)
        tell_systemd("STOPPING=1")
        await entrances.close(DRAIN_S)
        self._wait_for_threads()

    def _wait_for_threads(self) -> None:
        self._link.wait()
        if self._stream is not None:
            self._stream.wait()

    def _make_link(self, ask: Asking) -> Link:
        standing = self._standing
        return Link(
            Subject(
                self._folder,
                self._config,
                standing.boot,
                self._board,
                standing.counters,
                standing.models,
                ask,
            )
        )

    def _end(self, again: bool) -> None:
        if again and not self._ended.is_set():
            self._asked.set()
        else:
            self._again = again
            self._ended.set()

    async def _follow(self, found: Path | None) -> None:
        """Load the generation, and serve another one whenever that is asked for, while this process can."""
        loading = asyncio.get_running_loop().create_task(self._loading.begin(found))
        loading.add_done_callback(self._begun)
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._tell_reloading()
            tell_systemd("READY=1")
            try:
                reason = await self._loading.follow()
            except Exception as error:  # a process that starts anew knows nothing of what went wrong here
                LOG.exception("what is asked for could not be followed")
                reason = f"{type(error).__name__}: {error}"
            if not reason:
                self._tell_status()
            elif self._folder.launcher.is_file():
                LOG.info("requests wait while the process starts anew: %s", reason)
                self._again, self._reason = True, reason
                self._ended.set()
                return
            else:
                LOG.error("can't start anew: `%s` is not there", self._folder.launcher)

    def _begun(self, loading: asyncio.Task[None]) -> None:
        if not loading.cancelled():
            loading.result()
            self._tell_status()
            self._link.start()
            self._follow_stream()

    # --- whoever keeps this process running

    def _tell_reloading(self) -> None:
        tell_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _tell_status(self) -> None:
        error = self._catalog.first_error
        tell_systemd(f"STATUS=serving {self._catalog.title}" if error is None else f"STATUS={error}")

    def _keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell systemd that the event loop turns, at twice the pace that it asks for."""
        period = os.environ.get("WATCHDOG_USEC", "")
        if period.isdigit() and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            tell_systemd("WATCHDOG=1")
            loop.call_later(int(period) / 2e6, self._keep_alive, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._standing.look()
        self._follow_stream()
        loop.call_later(LOOK_S, self._look, loop)

    def _follow_stream(self) -> None:
        """Have the stream begin that the board is told of; it ends by itself."""
        if not self._folder.stream.exists() or (self._stream is not None and self._stream.alive):
            return
        from agent.stream.stream import Stream  # not before there is one

        self._stream = Stream(self._folder.stream, self._folder.stream_state, self._asking, self._link.tell)
        self._stream.start()
