"""Load tests on this board, one window at a time: of the agent that serves here, of a server elsewhere, of an engine
alone. Nothing but the standard library, but for what the engine itself needs.

The rule: what is told was measured here and now. CPU time and memory are the server's own, from the kernel; the load
comes from this process, which takes its share of the board, and says how much. Rounds, comparisons and the search for
the knee are the host's (`edge.bench`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.bench.facts import heat, heat_fields, memory
from agent.bench.load import Address, Load, Tally, run
from agent.bench.payload import random_request
from agent.bench.server import Server, Target
from agent.config import BoardFolder, read_config
from agent.contract.arrivals import due_times
from agent.contract.board import RunningAgent
from agent.contract.codec import decode
from agent.contract.errors import AgentSilent, ContractError, Interrupted
from agent.contract.load import LoadProbe, LoadReport, counted
from agent.system import cpu_seconds, peak_bytes_of, pss_bytes, rss_bytes


@dataclass(frozen=True)
class Window:
    """One window of load.

    Attributes:
        way: `json`, `binary` or `image`.
        seconds: how long. warm_up_s: the same load before it, not counted.
        connections: at once.
        rate_per_s: of an open loop; None for a closed one. arrivals: `poisson` or `constant`.
        gone: set when nobody waits for the numbers any more; the window ends then.
    """

    way: str
    seconds: float
    warm_up_s: float
    connections: int
    rate_per_s: float | None = None
    arrivals: str = "poisson"
    gone: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class _Measured:
    """A window's tally, CPU seconds of the generator and of the server, and the model's counts before it."""

    tally: Tally
    own_cpu_s: float
    cpu_s: float | None
    runs: tuple[int, int] | None


def agent_of(root: Path) -> RunningAgent:
    """The agent that serves from a board's folder.

    Raises:
        AgentSilent: none does.
    """
    folder = BoardFolder(root)
    try:
        return decode(RunningAgent, folder.running.read_bytes())
    except (OSError, ContractError) as error:
        raise AgentSilent(device=root, reason=f"`{folder.running}` can't be read") from error


def bench_agent(root: Path, model: str, version: str | None, window: Window) -> LoadReport:
    """Load a model of the agent that serves from a board's folder.

    Raises:
        AgentSilent: no agent answers. ModelNotServed, ModelVersionNotServed: it does not serve the model.
    """
    agent = agent_of(root)
    server = Server(Address(read_config(BoardFolder(root)).address, agent.port))
    return _bench(Target.find(server, model, version), window, pid=agent.pid, root=root)


def probe_agent(root: Path, model: str, version: str | None) -> LoadProbe:
    """What one needs who loads a model of this board's agent from elsewhere, and counts what that costs here.

    Raises:
        as `bench_agent`.
    """
    agent = agent_of(root)
    server = Server(Address(read_config(BoardFolder(root)).address, agent.port))
    target = Target.find(server, model, version)
    temperature_c, throttled = heat(root)
    inferences, executions = target.runs() or (None, None)
    return LoadProbe(
        model=target.model,
        version=target.version,
        engine=target.metadata["platform"],
        request=random_request(target.metadata["inputs"]).decode(),
        cpu_s=cpu_seconds(agent.pid),
        rss_bytes=rss_bytes(agent.pid),
        pss_bytes=pss_bytes(agent.pid),
        peak_bytes=peak_bytes_of(agent.pid),
        temperature_c=temperature_c,
        throttled=throttled,
        inferences=inferences,
        executions=executions,
    )


def bench_server(server: Server, model: str, version: str | None, window: Window) -> LoadReport:
    """Load a model of any server of the protocol; what its process costs is not known.

    Raises:
        AgentSilent: nobody answers. ModelNotServed, ModelVersionNotServed: it does not serve the model.
        RequestInvalid: it does not speak the protocol.
    """
    return _bench(Target.find(server, model, version), window, pid=None, root=None)


def _bench(target: Target, window: Window, *, pid: int | None, root: Path | None) -> LoadReport:
    request, before = target.request(window.way), heat(root) if root is not None else (None, None)

    async def load() -> _Measured:
        async with Load(target.server.address, request, window.connections, window.gone) as generator:
            await _load(generator, window, window.warm_up_s)
            if window.gone.is_set():
                raise Interrupted
            runs, cpu_s, own_s = target.runs(), _cpu_seconds(pid), time.process_time()
            tally = await _load(generator, window, window.seconds)
            own_s = time.process_time() - own_s
            return _Measured(tally, own_s, _since(cpu_s, _cpu_seconds(pid)), runs)

    try:
        found = run(load, precise=window.rate_per_s is not None)
    except (OSError, asyncio.TimeoutError) as error:
        raise AgentSilent(device=target.server.name, reason=str(error) or type(error).__name__) from error
    tally, runs = found.tally, target.runs()
    return LoadReport(
        model=target.model,
        version=target.version,
        engine=target.metadata["platform"],
        way=window.way,
        warm_up_s=window.warm_up_s,
        seconds=tally.seconds,
        connections=window.connections,
        request_bytes=len(request),
        requests=tally.requests,
        sent=tally.sent,
        errors=tally.errors,
        latencies=counted(tally.latencies),
        generator_cpu_s=found.own_cpu_s,
        rate_per_s=window.rate_per_s,
        arrivals=window.arrivals if window.rate_per_s is not None else None,
        late=counted(tally.late),
        waited=tally.waited,
        server_cpu_s=found.cpu_s,
        inferences=runs[0] - found.runs[0] if runs and found.runs else None,
        executions=runs[1] - found.runs[1] if runs and found.runs else None,
        cut=window.gone.is_set(),
        **(memory(pid) if pid is not None else {}),
        **(heat_fields(before, heat(root)) if root is not None else {}),
    )


async def _load(generator: Load, window: Window, seconds: float) -> Tally:
    if window.rate_per_s is None:
        return await generator.closed(seconds)
    return await generator.open(due_times(window.rate_per_s, seconds, window.arrivals), seconds)


def _cpu_seconds(pid: int | None) -> float | None:
    return cpu_seconds(pid) if pid is not None else None


def _since(before: float | None, now: float | None) -> float | None:
    return now - before if before is not None and now is not None else None
