"""Steady requests to a simulated board's agent, as its clients on the board would send them.

The rule: the pace is the plan's, not the agent's: what is due is sent when it is due, one at a time, and what could not
be sent in time is left out, never made up for in a burst. Nothing is sent, and nothing is counted, while no agent of
the board says where it listens; whatever else goes wrong is counted as failed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.sim import processes
from edge.sim.plan import Plan

LOOK_S = 0.25
ANSWER_S = 30.0
KINDS_OF_REQUEST = 4
"""Different inputs for each model, sent in turn."""
BROKEN = (OSError, EOFError, ValueError, KeyError, TypeError, asyncio.LimitOverrunError)
"""What a connection to an agent that goes away, or is no agent, raises."""


@dataclass
class Count:
    """What became of a board's requests since its server was started. `failed`: without an answer of status 200."""

    sent: int = 0
    failed: int = 0


class Traffic:
    """The clients of one board.

    Attributes:
        count: what was sent so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.count = Count()
        self._plan = plan
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._task: asyncio.Task[None] | None = None

    def follow(self, plan: Plan) -> None:
        """Send what the plan says from now on: start, go on at another pace, or stop."""
        self._plan = plan
        if plan.requests_per_s and self._task is None:
            self._task = asyncio.create_task(self._run())
        elif not plan.requests_per_s:
            self.stop()

    def stop(self) -> None:
        """Send nothing any more."""
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._hang_up()

    async def _run(self) -> None:
        """For each life of the agent: find out what it serves, and ask for it until something else runs."""
        while True:
            life = processes.agent(self._plan)
            if life is not None:
                try:
                    async with asyncio.timeout(ANSWER_S):
                        requests = await self._learn(life)
                    await self._ask(life, requests)
                except BROKEN:
                    self._hang_up()
            await asyncio.sleep(LOOK_S)

    async def _learn(self, life: processes.Agent) -> list[bytes]:
        """One request after another for each model that is served."""
        self._hang_up()
        models = json.loads((await self._exchange(life.port, _get("/v2/models")))[1])["models"]
        described = []
        for model in models:
            status, body = await self._exchange(life.port, _get(f"/v2/models/{model}"))
            if status == 200:
                described.append(json.loads(body))
        chance = random.Random(self._plan.name)
        return [
            infer_request(model["name"], model["inputs"], chance)
            for _ in range(KINDS_OF_REQUEST)
            for model in described
        ]

    async def _ask(self, life: processes.Agent, requests: Iterable[bytes]) -> None:
        """Send requests in turn while this life of the agent lasts."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for request in itertools.cycle(requests):
            due = max(due + 1 / self._plan.requests_per_s, loop.time())
            await asyncio.sleep(due - loop.time())
            if life.is_over():
                return
            self.count.sent += 1
            if not await self._answered(life.port, request):
                self.count.failed += 1

    async def _answered(self, port: int, request: bytes) -> bool:
        """Whether a request was answered well. As every client of HTTP does, this one asks once more where the
        connection that it kept had ended meanwhile."""
        for kept in (self._stream is not None, False):
            try:
                async with asyncio.timeout(ANSWER_S):
                    return (await self._exchange(port, request))[0] == 200
            except BROKEN:
                self._hang_up()
                if not kept:
                    return False
        return False

    async def _exchange(self, port: int, request: bytes) -> tuple[int, bytes]:
        """Status and body of one answer, over the connection that is kept; the agent always says its length."""
        if self._stream is None:
            self._stream = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._stream
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await reader.readexactly(int(length))

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
        self._stream = None


def infer_request(model: str, inputs: Sequence[Mapping[str, Any]], chance: random.Random) -> bytes:
    """One sample for a model, as bytes of HTTP: real numbers 0 to 1, integers 0 to 100, truth values."""
    tensors = []
    for tensor in inputs:
        shape = [max(length, 1) for length in tensor["shape"]]
        data = [_value(tensor["datatype"], chance) for _ in range(math.prod(shape))]
        tensors.append({**tensor, "shape": shape, "data": data})
    body = json.dumps({"inputs": tensors}, separators=(",", ":")).encode()
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: agent\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _value(datatype: str, chance: random.Random) -> float | int | bool:
    if datatype.startswith("FP"):
        return round(chance.random(), 4)
    return chance.random() < 0.5 if datatype == "BOOL" else chance.randrange(100)


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n".encode()
