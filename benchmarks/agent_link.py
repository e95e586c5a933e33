"""What telemetry costs on a board: CPU time and bytes of a sample, memory of the agent.

    python benchmarks/agent_link.py [--rounds 5] [--seconds 6]

Prints tables of medians, the least and the most in brackets. CPU time is the thread's own, of one sample with one model
that 5,000 requests came to: reading the board, encoding, the outbox's commit; an acknowledgement follows each
twentieth. Memory is that of agents with and without a `link.json`, in turn, that report over TLS to a real mosquitto
(which must be installed) ten times a second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.link.outbox import Outbox  # noqa: E402
from agent.link.sampler import message, sample  # noqa: E402
from agent.metrics import ModelMetrics  # noqa: E402
from agent.system import BoardReader, cpu_seconds, pss_bytes, rss_bytes  # noqa: E402
from edge.certificates import CertificateAuthority  # noqa: E402
from tests.agent.conftest import RunningAgent  # noqa: E402
from tests.link.boards import LinkedBoard  # noqa: E402
from tests.link.broker import Broker  # noqa: E402
from tests.link.collector import Collector  # noqa: E402

BOOT = "00112233aabbccdd"
SAMPLES = 100
"""In one repetition."""
REPETITIONS = 30
ACKNOWLEDGED_EACH = 20
INTERVAL_S = 0.1


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps, sizes = measure_samples(Path(folder) / "outbox")
        print_samples(steps, sizes)
        memory = measure_memory(Path(folder), options.rounds, options.seconds)
    print_memory(memory)
    print_memory(memory)


# --- a sample


def busy_model() -> ModelMetrics:
    """A model that 5,000 requests came to."""
    metrics, chance = ModelMetrics(), random.Random(1)
    for _ in range(5_000):
        metrics.ran(1, chance.lognormvariate(0, 0.5) / 1000)
        metrics.answered(chance.lognormvariate(0.3, 0.6) / 1000)
    return metrics


def measure_samples(folder: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU microseconds of each step, one figure a repetition; and bytes."""
    metrics, board = busy_model(), BoardReader(folder.parent)
    outbox = Outbox(folder, boot=BOOT, os_boot="this one")

    def counters() -> list[dict[str, Any]]:
        return [metrics.plain("digits", "digits@1", 0)]

    def whole() -> None:
        number = outbox.add_sample(sample(board, counters()))
        if number % ACKNOWLEDGED_EACH == 0:
            outbox.acknowledge(BOOT, number)

    def sent() -> None:
        pending = outbox.pending()
        assert pending is not None
        message(pending, device="d-0123456789", clock_synchronised=True)

    steps: dict[str, list[float]] = {}
    whole()  # opens the file
    models, body = counters(), sample(board, counters())
    for _ in range(REPETITIONS):
        for name, step in (
            ("reading the board", board.plain),
            ("reading the model's counters", counters),
            ("reading and encoding", lambda: sample(board, counters())),
            ("commit to the outbox", lambda: outbox.add_sample(body)),
        ):
            steps.setdefault(name, []).append(cpu_us(step))
        outbox.acknowledge(BOOT, 1 << 39)
        steps.setdefault("a sample in all, with its deletion", []).append(cpu_us(whole))
        for _ in range(10):
            outbox.add_sample(body)
        steps.setdefault("joining 10 to a message", []).append(cpu_us(sent))
        outbox.acknowledge(BOOT, 1 << 39)
    for _ in range(10):
        outbox.add_sample(body)
    pending = outbox.pending()
    assert pending is not None
    batch = message(pending, device="d-0123456789", clock_synchronised=True)
    assert models
    return steps, {"stored": len(body), "on the wire, of 10": len(batch) / len(pending.items)}


def cpu_us(step: Callable[[], object]) -> float:
    """CPU microseconds of one step, the mean of `SAMPLES`."""
    began = time.thread_time_ns()
    for _ in range(SAMPLES):
        step()
    return (time.thread_time_ns() - began) / SAMPLES / 1000


def print_samples(steps: dict[str, list[float]], sizes: dict[str, float]) -> None:
    """The table of one sample."""
    print("| CPU time of a sample, µs | median | least–most |\n|---|---|---|")
    for name, found in steps.items():
        print(f"| {name} | {statistics.median(found):.1f} | {min(found):.1f}–{max(found):.1f} |")
    print("\n| bytes of a sample | |\n|---|---|")
    for name, size in sizes.items():
        print(f"| {name} | {size:,.0f} |")


# --- memory


def measure_memory(folder: Path, rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """MiB and CPU time of agents that report, and of those that do not."""
    authority = CertificateAuthority(folder / "keys")
    broker = Broker(folder / "broker", authority).start()
    collector = Collector(folder, authority, broker.port)
    found: dict[str, dict[str, list[float]]] = {}
    try:
        for turn in range(rounds):
            for reports in (False, True):
                board = LinkedBoard(folder / f"board-{turn}-{reports}", authority)
                board.generation(1, {"digits": board.digits_onnx()})
                board.link("current", 1)
                if reports:
                    board.report_to(broker.port, interval_s=INTERVAL_S)
                agent = RunningAgent(board, folder / "log").ready()
                began = cpu_seconds(agent.process.pid)
                time.sleep(seconds)
                figures = found.setdefault("reports" if reports else "does not", {})
                pid = agent.process.pid
                figures.setdefault("RSS, MiB", []).append(rss_bytes(pid) / 2**20)
                figures.setdefault("PSS, MiB", []).append((pss_bytes(pid) or 0) / 2**20)
                used_ms = (cpu_seconds(pid) - began) * 1000
                figures.setdefault("CPU, ms/s", []).append(used_ms / seconds)
                agent.stop()
        assert collector.streams, "nothing arrived"
    finally:
        collector.stop()
        broker.kill()
    return found


def print_memory(found: dict[str, dict[str, list[float]]]) -> None:
    """The table of agents."""
    print("\n| agent | does not report | reports | telemetry |\n|---|---|---|---|")
    for name in found["reports"]:
        without, reports = found["does not"][name], found["reports"][name]
        gains = [one - other for one, other in zip(reports, without, strict=True)]
        cells = " | ".join(
            f"{statistics.median(figures):.1f} ({min(figures):.1f}–{max(figures):.1f})"
            for figures in (without, reports, gains)
        )
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
