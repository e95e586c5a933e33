"""What telemetry costs on a board: CPU time and bytes of a sample, memory of the agent.

    python benchmarks/agent_link.py [--rounds 5] [--seconds 6]

CPU time is the thread's own, of one sample with one model that 5,000 requests came to; an acknowledgement follows each
twentieth. Memory is that of agents with and without a `link.json`, in turn, that report over TLS to a real mosquitto
(which must be installed) ten times a second; medians, the least and the most in brackets.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

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
SAMPLES = 5_000
ACKNOWLEDGED_EACH = 20
INTERVAL_S = 0.1
STEPS = (
    "reading the board and the model",
    "the same, and encoding",
    "commit to the outbox",
    "**a sample**: read, encoded, committed",
    "joining 20 to a message, each",
    "deletion of 20, each",
)


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


# --- a sample


def busy_model() -> ModelMetrics:
    """A model that 5,000 requests came to."""
    metrics, chance = ModelMetrics(), random.Random(1)
    for _ in range(5_000):
        metrics.ran(1, chance.lognormvariate(0, 0.5) / 1000)
        metrics.answered(chance.lognormvariate(0.3, 0.6) / 1000)
    return metrics


def measure_samples(folder: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU microseconds of each step, one figure a sample; and bytes."""
    metrics, board = busy_model(), BoardReader(folder.parent)
    outbox = Outbox(folder, boot=BOOT, os_boot="this one")
    steps: dict[str, list[float]] = {name: [] for name in STEPS}
    clock, body = time.thread_time_ns, b""
    for _ in range(SAMPLES):
        began = clock()
        read = board.plain(), metrics.plain("digits", "digits@1", 0)
        was_read = clock()
        assert read
        begin_sample = clock()
        body = sample(board, [metrics.plain("digits", "digits@1", 0)])
        encoded = clock()
        number = outbox.add_sample(body)
        committed = clock()
        figures = [was_read - began, encoded - begin_sample, committed - encoded, committed - begin_sample]
        if number % ACKNOWLEDGED_EACH == 0:
            began = clock()
            joined(outbox)
            was_joined = clock()
            outbox.acknowledge(BOOT, number)
            acknowledged = clock()
            figures += [(was_joined - began) / ACKNOWLEDGED_EACH]
            figures += [(acknowledged - was_joined) / ACKNOWLEDGED_EACH]
        for name, figure in zip(STEPS, figures, strict=False):
            steps[name].append(figure / 1000)
    for _ in range(10):
        outbox.add_sample(body)
    return steps, {"stored": len(body), "on the wire, of 10": joined(outbox) / 10}


def joined(outbox: Outbox) -> int:
    """Length of the next message, in bytes."""
    pending = outbox.pending()
    assert pending is not None
    return len(message(pending, device="d-0123456789", clock_synchronised=True))


def print_samples(steps: dict[str, list[float]], sizes: dict[str, float]) -> None:
    """The table of one sample."""
    print("| CPU time of a sample, µs | least | of the quickest tenth | median |\n|---|---:|---:|---:|")
    for name, found in steps.items():
        quickest = statistics.quantiles(found, n=10)[0]
        print(f"| {name} | {min(found):.1f} | {quickest:.1f} | {statistics.median(found):.1f} |")
    print("\n| bytes of a sample | |\n|---|---:|")
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
                figures.setdefault("CPU at ten samples a second, ms/s", []).append(used_ms / seconds)
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
