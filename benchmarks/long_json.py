"""What a client of small requests notices of others that send long JSON.

    python benchmarks/long_json.py [--seconds 8] [--clients 2]

A real agent with the digits model. The small request is one row; the long one 4,000, 256,000 numbers in 1.5 MB.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.agent.boards import TestBoard, digits
from tests.agent.conftest import RunningAgent

PREDICT = "/v1/models/digits:predict"
ALONE = 200
"""Small requests before the long ones begin."""


class Client:
    """One connection. `milliseconds`: of each answer."""

    def __init__(self, agent: RunningAgent, rows: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=120)
        self._body = json.dumps({"instances": np.resize(digits(40), (rows, 64)).tolist()})
        self.milliseconds: list[float] = []

    def ask(self) -> None:
        began = time.perf_counter()
        self._connection.request("POST", PREDICT, self._body)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"a request was answered with {answer.status}")
        self.milliseconds.append((time.perf_counter() - began) * 1000)

    def ask_until(self, end: float) -> None:
        while time.monotonic() < end:
            self.ask()


def row(name: str, milliseconds: list[float]) -> str:
    """Of the table."""
    cells = [f"{value:.1f}" for value in np.quantile(milliseconds, (0.5, 0.9, 0.99))]
    return f"| {name} | {len(milliseconds)} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, default=2, help="that send long JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        board = TestBoard(Path(folder) / "board")
        board.generation(1, {"digits": board.digits_onnx()})
        board.link("current", 1)
        agent = RunningAgent(board, Path(folder) / "agent.log").ready()
        try:
            small, alone = Client(agent, 1), Client(agent, 1)
            for _ in range(ALONE):
                alone.ask()
            long = [Client(agent, 4000) for _ in range(options.clients)]
            end = time.monotonic() + options.seconds
            floods = [threading.Thread(target=client.ask_until, args=(end,)) for client in long]
            for flood in floods:
                flood.start()
            small.ask_until(end)
            for flood in floods:
                flood.join()
        finally:
            agent.stop()
    print("| | answers | p50, ms | p90, ms | p99, ms |\n|---|---:|---:|---:|---:|")
    print(row("small, alone", alone.milliseconds))
    print(row("small, beside the long ones", small.milliseconds))
    print(row("long", [each for client in long for each in client.milliseconds]))


if __name__ == "__main__":
    main()
