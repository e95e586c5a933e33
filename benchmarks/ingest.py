"""What a message costs from its bytes to SQLite, without MQTT: CPU of the process that holds the store.

`python -m benchmarks.ingest [--boards 5000] [--batch 500]`, from the repository's folder.
Each board sends samples with a board's counters and one model's; how many buckets the model's two sketches have is
what a message's length, and most of its cost, comes from.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agent.contract.codec import encode
from agent.contract.messages import BoardCounters, ModelCounters, Sample, Telemetry
from agent.contract.sketch import Sketch, of
from agent.contract.topics import TopicKind, topic
from edge.telemetry.boards import KnownDevice
from edge.telemetry.ingest import Received
from edge.telemetry.store import Store

MESSAGES = 20_000
BOARD = BoardCounters(
    cpu_s=8123.45, agent_cpu_s=812.34, memory_used_bytes=812_345_678, memory_total_bytes=4_123_456_789,
    agent_memory_bytes=81_234_567, disk_free_bytes=9_123_456_789, uptime_s=81234.5, temperature_c=51.2,
    throttled="0x0", network_sent_bytes=123_456_789, network_received_bytes=987_654_321,
)  # fmt: skip


def sketch(buckets: int, count: int) -> Sketch:
    """Of `count` values that lie in so many buckets."""
    chosen = random.Random(buckets)
    return of(chosen.uniform(1.0, 1.0 * 1.0408**buckets) for _ in range(count))


def messages(boards: int, samples: int, latency: Sketch) -> Iterator[bytes]:
    """Of all boards in turn, each going on where it was."""
    model = ModelCounters(
        name="digits", release="digits@3", requests=123_456, errors={"request.invalid": 12}, batches=123_000,
        queue=1, compute_s=812.3, latency_ms=latency, compute_ms=latency,
    )  # fmt: skip
    template = Telemetry(
        device="b-DEVICE", boot="0123456789abcdef", clock_synchronised=True, sent_monotonic=81234.5,
        samples=tuple(Sample(7_000_000_000 + n, 1.7e9 + n, 81234.5, BOARD, (model,)) for n in range(samples)),
    )  # fmt: skip
    text = encode(template)
    for number in range(MESSAGES):
        first = number // boards * samples + 1
        message = text.replace(b"b-DEVICE", device(number % boards).encode())
        for n in range(samples):
            message = message.replace(b"%d" % (7_000_000_000 + n), b"%d" % (first + n))
        yield message


def device(number: int) -> str:
    """A device's id."""
    return f"b-{number:016x}"


def measure(boards: int, batch: int, samples: int, buckets: int) -> None:
    """One row of the table. Every board was heard of before the clock starts."""
    latency = sketch(buckets, 2000)
    known = {
        device(n): KnownDevice(name=f"board-{n}", device_id=device(n), public_key=None) for n in range(boards)
    }
    topics = [topic("kitchen-abcdef", name, TopicKind.TELEMETRY) for name in known]
    now = time.time()
    received = [
        Received(topics[n % boards], payload, now + n * 0.001)
        for n, payload in enumerate(messages(boards, samples, latency))
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        with Store.open(path, writer=True, known=known.get) as store:
            store.ingest(received[:boards])
            cpu_us = []
            for start in range(boards, len(received), batch):
                began = time.process_time()
                outcome = store.ingest(received[start : start + batch])
                cpu_us.append((time.process_time() - began) / len(received[start : start + batch]) * 1e6)
                assert (outcome.refused, outcome.holes, outcome.duplicates) == ((), 0, 0)
        size = path.stat().st_size / len(received) / samples
    middle = statistics.median(cpu_us)
    print(
        f"{samples:7}  {len(latency.counts):7}  {len(received[0].payload):7}"
        f"  {middle:7.1f}  {min(cpu_us):7.1f}  {statistics.fmean(cpu_us):7.1f}  {middle / samples:10.1f}  {size:12.0f}"
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boards", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=500)
    given = parser.parse_args()
    print(
        f"{given.boards} boards, {given.batch} messages a transaction, CPU in µs a message over the batches"
    )
    print("samples  buckets    bytes   median    least     mean  a sample  bytes stored")
    for samples, buckets in ((1, 8), (1, 20), (1, 50), (10, 8), (10, 20), (10, 50)):
        measure(given.boards, given.batch, samples, buckets)


if __name__ == "__main__":
    main()
