"""The serving agent: what is wired to what, and in which order it starts and ends.

The rule of the start: listen and answer `/v2/health/live` before anything heavy is imported; load models in a thread;
ready when each has answered once. Of the end: SIGTERM gives the answers under way and exits; SIGHUP does so too and
then executes the launcher anew, with the listening socket and the clients' connections handed over, so that a swap of
generations refuses nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from agent import __version__
from agent.config import BoardFolder, generation_to_serve, read_config, read_generation
from agent.contract.board import BoardConfig, RunningAgent
from agent.contract.codec import encode
from agent.contract.errors import AgentConfigInvalid, EdgeError, EngineRefusesModel, PortTaken
from agent.link.link import Link
from agent.link.subject import Subject
from agent.metrics import Exposition, expose_board, expose_models
from agent.serving.accepting import stop_accepting
from agent.serving.asking import Asking
from agent.serving.catalog import Catalog
from agent.serving.http import Connections
from agent.serving.routes import Routes
from agent.serving.served import Served
from agent.system import BoardReader, memory_limit_bytes, rss_bytes, tell_systemd

if TYPE_CHECKING:
    from agent.contract.release import Generation

LISTEN_FD = "EDGE_LISTEN_FD"
CONNECTION_FDS = "EDGE_CONNECTION_FDS"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BACKLOG = 512
DRAIN_S = 10.0
SETTLE_S = 0.01
"""For signals that have come to be seen."""
MEMORY_CHECK_S = 15.0

LOG = logging.getLogger("agent")


def main(root: Path, *, generation: int | None = None) -> int:
    """Serve until a signal ends it.

    Args:
        root: the board's folder.
        generation: its number; None follows the links `trial` and `current`.

    Returns:
        0 after SIGTERM or SIGINT.

    Raises:
        AgentConfigInvalid, PortTaken: it can't begin; `run/agent.json` says so, too.
    """
    folder = BoardFolder(root.resolve())
    config = read_config(folder)
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(levelname)s %(message)s", force=True
    )
    agent = Agent(folder, config, generation)
    try:
        listening = _listening_socket(config, folder)
    except EdgeError as error:
        agent.find_generation()
        agent.say(port=config.port, error=error)
        raise
    asyncio.run(agent.serve(listening))
    return 0


class Agent:
    """One start of the agent.

    Args:
        folder: the board's. config: as enrolment wrote it. generation: which to serve, None for what is linked.
    """

    def __init__(self, folder: BoardFolder, config: BoardConfig, generation: int | None) -> None:
        self._folder = folder
        self._config = config
        self._chosen = generation
        self._boot = os.urandom(8).hex()
        self._started = time.time()
        self._catalog = Catalog()
        self._board = BoardReader(folder.root)
        self._ended = asyncio.Event()
        self._over_limit = False
        self._again = False

    async def serve(self, listening: socket.socket) -> None:
        """Answer clients of `listening` until a signal comes."""
        loop = asyncio.get_running_loop()
        # Threads inherit the mask: signals are for this one alone, so that none is lost when it hands over.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        routes = Routes(self._catalog, version=__version__, exposition=self._exposition, status=self._status)
        told = self._counters, self._models, Asking(loop, routes)
        self._link = Link(Subject(self._folder, self._config, self._boot, self._board, *told))
        self._clients = Connections(loop, routes)
        # The server closes its own copy of the socket; clients that come meanwhile wait in this one.
        server = await loop.create_server(self._clients.new, sock=listening.dup(), backlog=BACKLOG)
        self._port = int(listening.getsockname()[1])
        await self._take_over(loop)
        for number in SIGNALS:
            loop.add_signal_handler(number, self._end, number == signal.SIGHUP)
        found = self.find_generation()
        self.say(port=self._port)
        tell_systemd("READY=1")
        self._keep_alive(loop)
        self._check_memory(loop)
        LOG.info(
            "listening on %s port %d, generation %d",
            self._config.address,
            self._port,
            self._catalog.generation,
        )
        threading.Thread(target=self._load, args=(loop, found), name="loading", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

        await self._ended.wait()

        self._link.end()
        await stop_accepting(server)
        if self._again:
            tell_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            connections = await self._clients.park(DRAIN_S)
            # A signal that comes from here on waits for the process that can take it; one that came is seen below.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            await asyncio.sleep(SETTLE_S)
            if self._again:
                self._link.wait()
                self._execute(listening, connections)
        tell_systemd("STOPPING=1")
        await self._clients.close(DRAIN_S)
        self._link.wait()
        listening.close()

    def _end(self, again: bool) -> None:
        if again and not self._folder.launcher.is_file():
            LOG.error("can't start anew: `%s` is not there", self._folder.launcher)
            return
        self._again = again
        self._ended.set()

    # --- models

    def _load(self, loop: asyncio.AbstractEventLoop, found: Path | None) -> None:
        """In a thread: load the models one by one, and say how it went."""
        try:
            if found is not None:
                self._load_generation(loop, read_generation(found))
        except EdgeError as error:
            loop.call_soon_threadsafe(setattr, self._catalog, "error", error)
        except Exception as error:
            LOG.exception("loading failed")
            failure = EngineRefusesModel(
                engine="the agent", version=__version__, file="generation", reason=str(error)
            )
            loop.call_soon_threadsafe(setattr, self._catalog, "error", failure)
        loop.call_soon_threadsafe(self._loaded)

    def _load_generation(self, loop: asyncio.AbstractEventLoop, generation: Generation) -> None:
        entries = [Served(model) for model in generation.models]
        loop.call_soon_threadsafe(self._begin, generation, entries)
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads' buffers are memory that nobody uses
        from agent.models import Model, open_bundle
        from agent.serving.served import time_model
        from agent.serving.v1 import predict  # noqa: F401 - so that the first request does not wait for it
        from agent.serving.v2 import inference  # noqa: F401 - as above

        for served in entries:
            try:
                bundle = open_bundle(self._folder.object(served.bundle), expected=served.bundle)
                model = Model(bundle, threads=self._config.threads)
                loop.call_soon_threadsafe(served.loaded, model, time_model(model))
            except EdgeError as error:
                LOG.error("%s can't be served: %s", served.release, error)
                loop.call_soon_threadsafe(served.failed, error)

    def _begin(self, generation: Generation, entries: list[Served]) -> None:
        self._catalog.generation = generation.number
        self._catalog.title = generation.title
        self._catalog.exchange(entries)

    def _loaded(self) -> None:
        self._catalog.finish()
        error = self._catalog.first_error
        self.say(port=self._port, ready=error is None, error=error)
        if error is None:
            LOG.info("ready: %s", self._catalog.title)
        else:
            LOG.error("not ready: %s", error)
        tell_systemd(f"STATUS=serving {self._catalog.title}" if error is None else f"STATUS={error}")
        self._link.start()

    # --- from process to process

    async def _take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on with the clients that the process before this one (the same process, executed anew) had."""
        for number in os.environ.pop(CONNECTION_FDS, "").split(","):
            if number:
                with contextlib.suppress(OSError, ValueError):
                    client = socket.socket(fileno=int(number))
                    client.set_inheritable(False)
                    await loop.connect_accepted_socket(self._clients.new, client)

    def _execute(self, listening: socket.socket, connections: list[int]) -> NoReturn:
        """Become the launcher, which finds what is to be served now."""
        for number in (listening.fileno(), *connections):
            os.set_inheritable(number, True)
        environment = {
            **os.environ,
            LISTEN_FD: str(listening.fileno()),
            CONNECTION_FDS: ",".join(map(str, connections)),
        }
        launcher = str(self._folder.launcher)
        LOG.info("starting anew, with %d clients", len(connections))
        command = [sys.executable, "-I", launcher, "--root", str(self._folder.root), "run"]
        os.execve(sys.executable, command, environment)  # noqa: S606 - the board's own launcher, no shell wanted

    def find_generation(self) -> Path | None:
        """The folder of the generation to serve, whose number is said from now on; None where there is none."""
        found = generation_to_serve(self._folder, self._chosen)
        self._catalog.generation = int(found.name) if found is not None and found.name.isdigit() else 0
        return found

    # --- what it says of itself

    def say(self, *, port: int, ready: bool = False, error: EdgeError | None = None) -> None:
        """Write `run/agent.json`, whole or not at all. Where it can't be written, serving goes on all the same."""
        running = RunningAgent(
            pid=os.getpid(),
            boot=self._boot,
            generation=self._catalog.generation,
            port=port,
            started=self._started,
            ready=ready,
            error=error.to_plain() if error is not None else None,
        )
        path = self._folder.running
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(exist_ok=True)
            fresh.write_bytes(encode(running))
            fresh.replace(path)
        except OSError as failure:
            LOG.error("`%s` can't be written: %s", path, failure.strerror)

    def _status(self) -> Mapping[str, Any]:
        error = self._catalog.first_error
        return {
            "fleet": self._config.fleet,
            "device": self._config.device,
            "agent_version": __version__,
            "pid": os.getpid(),
            "boot": self._boot,
            "started": self._started,
            "generation": self._catalog.generation,
            "title": self._catalog.title,
            "ready": self._catalog.ready,
            "error": error.to_plain() if error is not None else None,
            "connections": len(self._clients),
            "telemetry": self._link.status(),
            "models": [_model_status(served) for served in self._catalog.index()],
        }

    def _counters(self) -> list[dict[str, Any]]:
        return [
            served.metrics.plain(served.name, served.release, served.waiting)
            for served in self._catalog.index()
        ]

    def _models(self) -> list[dict[str, Any]]:
        return [
            {"name": served.name, "release": served.release, "bundle": served.bundle, "state": served.state}
            for served in self._catalog.index()
        ]

    def _exposition(self) -> bytes:
        to = Exposition()
        limit = self._config.memory_limit_mib * 1024 * 1024
        enforced = memory_limit_bytes() is not None
        facts = (
            ("ready", "Every model is loaded.", int(self._catalog.ready)),
            ("generation", "Number of the generation that is served.", self._catalog.generation),
            ("start_time_seconds", "When the agent started, since 1970.", self._started),
            ("connections", "Clients connected.", len(self._clients)),
            ("memory_limit_bytes", "What the agent may use.", limit),
            ("memory_limit_enforced", "The kernel enforces a memory limit.", int(enforced)),
            ("memory_over_limit", "The agent uses more than it may.", int(self._over_limit)),
        )
        expose_board(to, self._board.counters(), facts)
        expose_models(to, [served.sample() for served in self._catalog.index()])
        return to.text()

    # --- watching over itself

    def _keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell systemd that the event loop turns, at twice the pace that it asks for."""
        period = os.environ.get("WATCHDOG_USEC", "")
        if period.isdigit() and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            tell_systemd("WATCHDOG=1")
            loop.call_later(int(period) / 2e6, self._keep_alive, loop)

    def _check_memory(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say so when the agent needs more memory than it may, which not every kernel enforces."""
        limit = self._config.memory_limit_mib * 1024 * 1024
        used = rss_bytes()
        if (used > limit) != self._over_limit:
            self._over_limit = used > limit
            words = "uses more memory than it may" if self._over_limit else "is below its memory limit again"
            LOG.warning("the agent %s: %d MiB of %d MiB", words, used >> 20, limit >> 20)
        loop.call_later(MEMORY_CHECK_S, self._check_memory, loop)


def _model_status(served: Served) -> dict[str, Any]:
    model = served.model
    return {
        "name": served.name,
        "release": served.release,
        "bundle": served.bundle,
        "state": served.state,
        "error": served.error.to_plain() if served.error is not None else None,
        "engine": model.engine if model is not None else None,
        "run_ms": served.run_s * 1000,
        "inline": served.quick,
        "counters": served.metrics.plain(served.name, served.release, served.waiting),
    }


def _listening_socket(config: BoardConfig, folder: BoardFolder) -> socket.socket:
    """The socket that the process before this one handed over, or a new one.

    Raises:
        PortTaken: another process has it.
        AgentConfigInvalid: the address is none of this board's, or the port is not for this user.
    """
    inherited = os.environ.pop(LISTEN_FD, "")
    if inherited.isdigit():
        with contextlib.suppress(OSError):
            handed = socket.socket(fileno=int(inherited))
            handed.set_inheritable(False)
            handed.setblocking(False)
            address, port = handed.getsockname()[:2]
            if address == config.address and config.port in (0, port):
                return handed
            handed.close()
    family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.address, config.port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port=config.port, address=config.address) from error
        reason = f"can't listen on {config.address} port {config.port}: {error.strerror}"
        raise AgentConfigInvalid(path=folder.config, reason=reason) from error
    return listening
