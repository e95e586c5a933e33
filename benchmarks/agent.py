"""What the agent costs while nobody asks it anything: memory, idle CPU time, time to live and to the first answer.

    python benchmarks/agent.py [--rounds 5]

The agent serves an MLP and a convolutional net (`benchmarks/peers/models.py`) and reports to a real mosquitto over TLS,
which must be installed. *bare* is a process that imports numpy and ONNX Runtime, loads the same models, runs each
once and waits. Medians, the least and the most in brackets; the agent and the bare process take turns. What a request
costs is `benchmarks/serving.py`'s.
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

from agent.system import cpu_seconds, pss_bytes, rss_bytes  # noqa: E402
from benchmarks.peers.models import conv_onnx, mlp_onnx  # noqa: E402
from benchmarks.peers.servers import JSON, fill_board, free_port, v2_request  # noqa: E402
from edge.certificates import CertificateAuthority  # noqa: E402
from tests.link.boards import LinkedBoard  # noqa: E402
from tests.link.broker import Broker  # noqa: E402
from tests.link.collector import Collector  # noqa: E402

MODELS = ("mlp", "conv")
INTERVAL_S = 10.0
"""From sample to sample: what a collector asks for unless told otherwise."""
IDLE_S = 4.0
SETTLE_S = 2.0

Found = dict[str, list[float]]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for the bare process; the agent does it by itself
    found: dict[str, Found] = {name: defaultdict(list) for name in ("agent", "agent without a model", "bare")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mlp_onnx(folder / "mlp.onnx")
        conv_onnx(folder / "conv.onnx")
        authority = CertificateAuthority(folder / "keys")
        broker = Broker(folder / "broker", authority).start()
        collector = Collector(folder, authority, broker.port)
        try:
            serving, empty = (LinkedBoard(folder / board, authority) for board in ("board", "empty"))
            fill_board(serving, folder, MODELS)
            for board in (serving, empty):
                board.report_to(broker.port, interval_s=INTERVAL_S)
            for _ in range(options.rounds):
                measure_agent(serving, found["agent"], models=True)
                measure_agent(empty, found["agent without a model"], models=False)
                measure_bare(folder, found["bare"])
            assert collector.streams, "nothing arrived"
        finally:
            collector.stop()
            broker.kill()
    print_table(found)


def measure_agent(board: LinkedBoard, found: Found, *, models: bool) -> None:
    """One start of the agent."""
    port = free_port()
    board.configure(port=port)
    began = time.perf_counter()
    with started([sys.executable, "-I", str(board.root / "bin" / "launch.py"), "run"]) as process:
        answered(port, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found["to live, ms"].append((time.perf_counter() - began) * 1000)
        if models:
            asked = v2_request(JSON, "x")
            head = f"POST {asked.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            answered(port, f"{head}Content-Length: {len(asked.body)}\r\n\r\n".encode() + asked.body)
            found["to the first answer, ms"].append((time.perf_counter() - began) * 1000)
        time.sleep(SETTLE_S)
        memory(process.pid, found)
        cpu = cpu_seconds(process.pid)
        time.sleep(IDLE_S)
        found["idle, % of a core"].append((cpu_seconds(process.pid) - cpu) / IDLE_S * 100)


def measure_bare(folder: Path, found: Found) -> None:
    """One process that has the engine and the models, and nothing else."""
    served = [f"{name}={folder / name}.onnx" for name in MODELS]
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "benchmarks" / "floor.py"), "bare", *served]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found["to the first answer, ms"].append((time.perf_counter() - began) * 1000)
        memory(process.pid, found)
    finally:
        process.kill()
        process.wait()


def memory(pid: int, found: Found) -> None:
    """A process's memory now."""
    found["RSS, MB"].append(rss_bytes(pid) / 1e6)
    found["PSS, MB"].append((pss_bytes(pid) or 0) / 1e6)


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
