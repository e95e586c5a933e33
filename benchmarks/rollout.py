"""How long it takes from the sample that shows a bad release to the halt.

`python -m benchmarks.rollout [--rounds 3] [--boards 3] [--interval 1]`, from the repository's folder.
Simulated boards under steady requests; each round rolls out a release that is several times slower than what runs, and
the gate halts it. Afterwards the gate is asked again for each sample that came, one by one: the one since which it
finds against the release counts. From its arrival to the line `halt` in the journal one reporting interval and one
period of the gate may pass; the way back is printed too. A table in Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from edge.config import FleetFolder
from edge.rollouts import journal
from edge.rollouts.conditions import read_conditions
from edge.rollouts.entries import Entry
from edge.rollouts.fold import Rollout, fold
from edge.rollouts.gate import Verdict, decide
from edge.rollouts.operations import GATE_PERIOD_S
from edge.rollouts.state import RolloutEvent
from edge.rollouts.watch import Watch
from edge.telemetry import query
from edge.telemetry.records import ModelWindow
from edge.telemetry.store import Store
from tests.journeys.boards import SimBoard
from tests.journeys.bundles import MODELS, make_bundle
from tests.journeys.laptop import Laptop
from tests.rollouts.slow_model import make_slow

ROOMY = ("--budget", "p95_ms=500", "--budget", "memory_mb=200")


class Past(Watch):
    """What was known when a position of the store was the newest."""

    until: int | None = None

    def _windows(self, device_id: str, after: int, until: int | None) -> tuple[ModelWindow, ...]:
        return super()._windows(device_id, after, self.until if until is None else until)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--boards", type=int, default=3)
    parser.add_argument("--interval", type=float, default=1.0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        laptop = Laptop(Path(folder) / "fleet", interval_s=str(options.interval))
        try:
            begin(laptop, Path(folder), options.boards)
            for number in range(options.rounds):
                rows.append(measure(laptop, Path(folder), number))
        finally:
            laptop.edge("collect", "stop")
            laptop.does("sim", "down", "--wipe")
    print_table(rows, options.interval)


def begin(laptop: Laptop, work: Path, boards: int) -> None:
    """Boards that run `digits@1` under requests, and report."""
    bundle = make_bundle(work / "right", profile="sim-onnx", model="digits.onnx")
    laptop.does("publish", "digits", str(bundle))
    laptop.does("sim", "up", str(boards), "--kind", "onnx", "--traffic", "--rate", "20")
    for number in range(1, boards + 1):
        SimBoard.take(laptop, number)
        laptop.does("flash", f"sim-{number}", "digits@1")


def measure(laptop: Laptop, work: Path, number: int) -> tuple[float, float, float]:
    """One slow release; seconds from the sample to the halt, from settling to the halt, and to the way back's end."""
    slow = make_slow(MODELS / "digits.onnx", work / f"slow-{number}.onnx")
    bundle = make_bundle(work / f"slow-{number}", profile="sim-onnx", model=str(slow), mark=str(number))
    said = laptop.does("publish", "digits", str(bundle), *ROOMY).err
    release = next(word for word in said.split() if word.startswith("digits@"))
    laptop.does("rollout", "start", release, "--waves", "1,100%", "--dwell", "60", code=3)
    fleet = FleetFolder.open(laptop.folder)
    entries, _ = journal.read(fleet.rollouts / f"{release.replace('@', '-')}-1")
    halt = next(entry for entry in entries if entry.event is RolloutEvent.HALT)
    settled = max(entry.at for entry in entries if entry.event is RolloutEvent.SETTLE and entry.at < halt.at)
    came = deciding_sample(fleet, fold(entries[: halt.number - 1]), halt)
    return halt.at - came, halt.at - settled, entries[-1].at - halt.at


def deciding_sample(fleet: FleetFolder, rollout: Rollout, halt: Entry) -> float:
    """When the sample came since which the gate finds against the release, seconds since 1970."""
    conditions = read_conditions(rollout.plan.conditions)
    past = Past(fleet)
    with Store.open(fleet.store) as store:
        came_before = [
            sample for sample in query.samples(store, after=rollout.mark or 0) if sample.rx <= halt.at
        ]
    against = None
    try:
        for sample in came_before:
            past.until = sample.position
            if decide(past.evidence(rollout), conditions).verdict is not Verdict.ROLLBACK:
                against = None
            elif against is None:
                against = sample.rx
    finally:
        past.close()
    if against is None:
        raise SystemExit("no sample explains the halt")
    return against


def print_table(rows: list[tuple[float, float, float]], interval_s: float) -> None:
    """Medians, the least and the most in brackets."""
    names = (
        f"sample in the store → halt (goal: ≤ {interval_s + GATE_PERIOD_S:g} s)",
        "wave settled → halt",
        "halt → the canary is back, confirmed",
    )
    print("| | seconds |\n|---|---|")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        print(f"| {name} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) |")


if __name__ == "__main__":
    main()
