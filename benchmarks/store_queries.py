"""How long questions take in a large store: 5,000 boards, 10 million samples of one model.

`python -m benchmarks.store_queries [--boards 5000] [--samples 10000000]`, from the repository's folder. The rows are
made by SQLite itself from one packed sample, in the order in which boards that report every 10 s send them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.contract.codec import decode
from agent.contract.messages import Telemetry
from benchmarks.ingest import device, messages, sketch
from edge.telemetry import query
from edge.telemetry.body import pack
from edge.telemetry.exposition import exposition
from edge.telemetry.store import Store

INTERVAL_S = 10.0
START = 1_700_000_000.0


def fill(path: Path, boards: int, count: int) -> None:
    """A store of so many samples."""
    (sample,) = decode(Telemetry, next(messages(boards, 1, sketch(20, 2000)))).samples
    with Store.open(path, writer=True) as store:
        run = store.connection.execute
        run("BEGIN")
        run(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
            " INSERT INTO samples SELECT i + 1, i % ? + 1, i / ? + 1, t.at, t.at, t.at, t.at - ?, ? FROM"
            " (SELECT i, ? + (i / ?) * ? + (i % ?) * ? / ? AS at FROM n) t",
            (
                count,
                boards,
                boards,
                START,
                pack(sample),
                START,
                boards,
                INTERVAL_S,
                boards,
                INTERVAL_S,
                boards,
            ),
        )
        rounds = count // boards
        for number in range(boards):
            newest = (rounds - 1) * boards + number + 1
            at = START + (rounds - 1) * INTERVAL_S + number * INTERVAL_S / boards
            run(
                "INSERT INTO streams(id, device, boot, high_water, samples, events, gaps, breaks, newest, newest_at,"
                " heard) VALUES (?, ?, '0123456789abcdef', ?, ?, 0, 0, 0, ?, ?, ?)",
                (number + 1, device(number), rounds, rounds, newest, at, at),
            )
        run("COMMIT")


def timed(what: str, ask: Callable[[], object], rounds: int = 5) -> None:
    """One row of the table."""
    wall, cpu = [], []
    for _ in range(rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        ask()
        wall.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - began_cpu) * 1000)
    print(f"{what:48} {statistics.median(wall):10.1f} ms   {statistics.median(cpu):10.1f} ms")


def main() -> None:
    """Fill a store, ask it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boards", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=10_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        fill(path, given.boards, given.samples)
        now = START + given.samples // given.boards * INTERVAL_S
        names = {device(n): f"board-{n}" for n in range(given.boards)}
        four = list(names)[:4]
        size = path.stat().st_size
        with Store.open(path) as store:
            end = query.position(store)
            print(f"{given.samples} samples of {given.boards} boards, {size / 1e9:.1f} GB")
            print(f"{'question':48} {'time':>13}   {'CPU':>13}")
            timed("position", lambda: query.position(store))
            timed("fleet_now, 4 boards, 10 s", lambda: query.fleet_now(store, now=now, devices=four))
            timed(
                "fleet_now, 4 boards, 1 h", lambda: query.fleet_now(store, now=now, devices=four, span_s=3600)
            )
            timed("fleet_now, all boards, 10 s", lambda: query.fleet_now(store, now=now), 3)
            timed(
                "windows, one board, the newest 1 %",
                lambda: query.windows(store, device=four[0], after=end * 99 // 100),
            )
            timed(
                "windows, one board, all but the oldest 1 %",
                lambda: query.windows(store, device=four[0], after=end // 100),
            )
            timed("samples, the newest 100 of all", lambda: list(query.samples(store, limit=100)))
            timed(
                "samples, the newest 20 of one board",
                lambda: list(query.samples(store, device=four[0], limit=20)),
            )
            timed("samples since 30 s, all boards", lambda: list(query.samples(store, since=now - 30)), 3)
            timed(
                "samples, the first 1000 of an export",
                lambda: list(itertools.islice(query.samples(store), 1000)),
            )
            timed("Prometheus, all boards", lambda: exposition(store, names=names, now=now), 1)


if __name__ == "__main__":
    main()
