"""Load test of the agent that serves on this board: closed loop, raw sockets, nothing but the standard library.

The rule: what is told was measured here and now. CPU time and memory are the agent's own, from the kernel; the load
comes from this process, which takes its share of the board, so latencies at many connections are no lower bound.
Closed loop: each connection sends its next request when it has the answer to the last one.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config import BoardFolder, read_config
from agent.contract.board import RunningAgent
from agent.contract.codec import decode
from agent.contract.errors import AgentSilent, ContractError, ModelNotServed
from agent.system import cpu_seconds, pss_bytes, rss_bytes

WARM_UP_S = 0.3
TIMEOUT_S = 30.0


@dataclass
class Tally:
    """What the clients saw. `latencies_s`: of the answers with status 200; `errors`: all others, by what they were."""

    latencies_s: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    def failed(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1


def bench(root: Path, *, model: str, seconds: float, connections: int) -> dict[str, Any]:
    """Load one model with random inputs.

    Args:
        root: the board's folder, whose `run/agent.json` names the agent.
        model: its name.
        seconds: how long.
        connections: clients at once.

    Returns:
        `requests_per_s`, `p50_ms`, `p95_ms`, `p99_ms`, `mean_ms`, `requests`, `errors` (by status), `agent_rss_mb`,
        `agent_pss_mb`, `agent_cpu_us_per_request`, and what was asked for.

    Raises:
        AgentSilent: no agent answers. ModelNotServed: it does not serve the model.
    """
    folder = BoardFolder(root)
    address = read_config(folder).address
    try:
        running = decode(RunningAgent, folder.running.read_bytes())
    except (OSError, ContractError) as error:
        raise AgentSilent(device=root, reason=f"`{folder.running}` can't be read") from error
    try:
        return asyncio.run(_bench(address, running, model, seconds, connections))
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        raise AgentSilent(device=root, reason=str(error) or type(error).__name__) from error


async def _bench(
    address: str, running: RunningAgent, model: str, seconds: float, connections: int
) -> dict[str, Any]:
    status, body = await _once(address, running.port, _get(f"/v2/models/{model}"))
    if status == 404:
        raise ModelNotServed(model=model)
    metadata = json.loads(body)
    request = post_request(f"/v2/models/{model}/infer", random_request(metadata["inputs"]))
    await load(address, running.port, request, connections, min(WARM_UP_S, seconds))
    cpu_before, began = cpu_seconds(running.pid), time.monotonic()
    tally = await load(address, running.port, request, connections, seconds)
    elapsed, cpu = time.monotonic() - began, cpu_seconds(running.pid) - cpu_before
    count = len(tally.latencies_s)
    pss = pss_bytes(running.pid)
    return {
        "model": model,
        "version": metadata["versions"][0],
        "platform": metadata["platform"],
        "seconds": round(elapsed, 3),
        "connections": connections,
        "request_bytes": len(request),
        "requests": count,
        "errors": tally.errors,
        "requests_per_s": round(count / elapsed, 1),
        "mean_ms": round(sum(tally.latencies_s) / count * 1000, 4) if count else None,
        **{f"p{part}_ms": _quantile_ms(tally.latencies_s, part / 100) for part in (50, 95, 99)},
        "agent_rss_mb": round(rss_bytes(running.pid) / 1e6, 1),
        "agent_pss_mb": round(pss / 1e6, 1) if pss is not None else None,
        "agent_cpu_us_per_request": round(cpu / count * 1e6, 1) if count else None,
    }


async def load(address: str, port: int, request: bytes, connections: int, seconds: float) -> Tally:
    """Send one request again and again on each connection, for so many seconds."""
    tally = Tally()
    end = time.monotonic() + seconds
    await asyncio.gather(*(_client(address, port, request, end, tally) for _ in range(connections)))
    return tally


async def _client(address: str, port: int, request: bytes, end: float, tally: Tally) -> None:
    """One connection's loop; opened again when the agent ends it."""
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TIMEOUT_S)
        except OSError as error:
            tally.failed(type(error).__name__)
            await asyncio.sleep(0.05)
            continue
        try:
            while time.monotonic() < end:
                began = time.perf_counter()
                writer.write(request)
                status, _ = await asyncio.wait_for(_answer(reader), TIMEOUT_S)
                if status == 200:
                    tally.latencies_s.append(time.perf_counter() - began)
                else:
                    tally.failed(str(status))
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            tally.failed(type(error).__name__)
        finally:
            writer.close()


async def _once(address: str, port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TIMEOUT_S)
    try:
        writer.write(request)
        return await asyncio.wait_for(_answer(reader), TIMEOUT_S)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer; the agent always says its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return int(head[9:12]), await reader.readexactly(int(length))


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n".encode()


def post_request(path: str, body: bytes) -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def random_request(inputs: Sequence[dict[str, Any]]) -> bytes:
    """One sample of random numbers, always the same: real numbers 0 to 1, integers 0 to 100."""
    chance = random.Random(0)  # noqa: S311 - a load, no secret
    tensors = []
    for tensor in inputs:
        shape = [max(length, 1) for length in tensor["shape"]]
        if tensor["datatype"].startswith("FP"):
            data: list[Any] = [round(chance.random(), 4) for _ in range(math.prod(shape))]
        elif tensor["datatype"] == "BOOL":
            data = [chance.random() < 0.5 for _ in range(math.prod(shape))]
        else:
            data = [chance.randrange(100) for _ in range(math.prod(shape))]
        tensors.append({**tensor, "shape": shape, "data": data})
    return json.dumps({"inputs": tensors}, separators=(",", ":")).encode()


def _quantile_ms(latencies_s: Sequence[float], part: float) -> float | None:
    ranked = sorted(latencies_s)
    return round(ranked[min(int(part * len(ranked)), len(ranked) - 1)] * 1000, 4) if ranked else None
