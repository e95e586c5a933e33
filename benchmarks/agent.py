"""What the agent costs beside its engine: memory, time to live and to the first answer, CPU time of a request.

    python benchmarks/agent.py [--rounds 5] [--seconds 2]

Prints a table of medians, the least and the most in brackets. The agent and the floor (`benchmarks/floor.py`)
alternate, with the same model, engine, settings and load (`edge-agent bench`'s, on the same machine).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.bench.load import Address, Load, Tally, run  # noqa: E402
from agent.bench.payload import random_request  # noqa: E402
from agent.bench.server import Server  # noqa: E402
from agent.system import cpu_seconds, pss_bytes, rss_bytes  # noqa: E402
from tests.agent.boards import MODELS, TestBoard  # noqa: E402

MODEL = MODELS / "digits.onnx"
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]
CONNECTIONS = (1, 8, 32)

Found = dict[str, list[float]]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for the floor; the agent does it by itself
    found: dict[str, Found] = {name: defaultdict(list) for name in ("agent", "floor", "bare engine")}
    with tempfile.TemporaryDirectory() as folder:
        board = TestBoard(Path(folder) / "board")
        board.generation(1, {"digits": board.digits_onnx()})
        board.link("current", 1)
        empty = TestBoard(Path(folder) / "empty")
        for _ in range(options.rounds):
            measure_agent(board, found["agent"], options.seconds)
            measure_empty(empty, found["agent"])
            measure_floor(found["floor"], options.seconds)
            measure_bare(found["bare engine"])
    print_table(found)


def measure_agent(board: TestBoard, found: Found, seconds: float) -> None:
    """One start of the agent with one model."""
    port = free_port()
    board.configure(port=port)
    began = time.perf_counter()
    with started([sys.executable, "-I", str(board.root / "bin" / "launch.py"), "run"]) as process:
        answered(port, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found["to live, ms"].append((time.perf_counter() - began) * 1000)
        request = infer_request(port)
        answered(port, request.replace(b"Host: agent", b"Host: agent\r\nConnection: close"))
        found["to the first answer, ms"].append((time.perf_counter() - began) * 1000)
        time.sleep(0.5)
        memory(process.pid, found)
        cpu = cpu_seconds(process.pid)
        time.sleep(2)
        found["idle, % of a core"].append((cpu_seconds(process.pid) - cpu) / 2 * 100)
        loaded(process.pid, port, request, seconds, found)


def measure_empty(board: TestBoard, found: Found) -> None:
    """One start of the agent without a generation."""
    port = free_port()
    board.configure(port=port)
    with started([sys.executable, "-I", str(board.root / "bin" / "launch.py"), "run"]) as process:
        answered(port, b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.5)
        found["PSS before a model is loaded, MB"].append((pss_bytes(process.pid) or 0) / 1e6)


def measure_floor(found: Found, seconds: float) -> None:
    """One start of the floor."""
    port = free_port()
    request = infer_request(port)
    began = time.perf_counter()
    with started(
        [sys.executable, str(ROOT / "benchmarks" / "floor.py"), "serve", str(port), f"digits={MODEL}"]
    ) as process:
        answered(port, request)
        found["to the first answer, ms"].append((time.perf_counter() - began) * 1000)
        memory(process.pid, found)
        loaded(process.pid, port, request, seconds, found)


def measure_bare(found: Found) -> None:
    """One process that has the engine and the model, and nothing else."""
    command = [sys.executable, str(ROOT / "benchmarks" / "floor.py"), "bare", f"digits={MODEL}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        memory(process.pid, found)
    finally:
        process.kill()
        process.wait()


def memory(pid: int, found: Found) -> None:
    """A process's memory now."""
    found["RSS, MB"].append(rss_bytes(pid) / 1e6)
    found["PSS, MB"].append((pss_bytes(pid) or 0) / 1e6)


def loaded(pid: int, port: int, request: bytes, seconds: float, found: Found) -> None:
    """CPU time of a request, and how many are answered, under load."""
    for connections in CONNECTIONS:
        tally, cpu_s = run(lambda: window(pid, port, request, connections, seconds), precise=False)  # noqa: B023
        assert tally.requests, tally.errors
        found[f"CPU a request, {connections} clients, µs"].append(cpu_s / tally.requests * 1e6)
        found[f"requests a second, {connections} clients"].append(tally.requests / tally.seconds)


async def window(
    pid: int, port: int, request: bytes, connections: int, seconds: float
) -> tuple[Tally, float]:
    """One window of load after a warm-up, and the CPU seconds that the process took in it."""
    async with Load(Address("127.0.0.1", port), request, connections) as load:
        await load.closed(0.3)
        cpu = cpu_seconds(pid)
        tally = await load.closed(seconds)
        return tally, cpu_seconds(pid) - cpu


def infer_request(port: int) -> bytes:
    """What is sent again and again."""
    server = Server(Address("127.0.0.1", port))
    return server.post(
        "/v2/models/digits/infer", random_request(INPUTS), {"Content-Type": "application/json"}
    )


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def answered(port: int, request: bytes) -> None:
    """Send a request until it is answered with 200."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(request)
                if client.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.002)
    raise SystemExit(f"nothing answers on port {port}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def print_table(found: dict[str, Found]) -> None:
    """Medians, with the least and the most."""
    rows = list(dict.fromkeys(row for column in found.values() for row in column))
    print(
        f"\nPython {sys.version.split()[0]}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n"
    )
    print("| | " + " | ".join(found) + " |")
    print("|---|" + "---:|" * len(found))
    for row in rows:
        cells = [shown(column[row]) if row in column else "" for column in found.values()]
        print(f"| {row} | " + " | ".join(cells) + " |")


def shown(values: list[float]) -> str:
    """`12.3 (11.9 to 14.0)`."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
