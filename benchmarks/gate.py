"""How often the gate halts equal boards, and how soon it finds worse ones: simulated rollouts, judged by the real gate.

    python -m benchmarks.gate [--rollouts 1000] [--seed 1]

Prints two tables in Markdown. A simulated board answers 20 to 50 requests a second; the CPU time of a run is

    0.2 ms × board × load of all × own drift × scatter

where `board` differs for good (the table's noise, lognormal), the load of all wanders by 15 % within 20 s and jumps by
half in one rollout of ten, each board drifts by 2 % of its own within 10 s, and the scatter of single runs is 25 %,
with one run in thirty on a Pareto tail (index 1.5). The plan is the demo's: a dwell of 10 s, a look each second (each
other second for 100 boards), and at most 40 s of waiting, after which the rollout counts as held. `before` is a span of
10 s; the model is exchanged in 3 s.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from agent.contract.sketch import GAMMA, Sketch
from edge.rollouts.conditions import Conditions
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd
from edge.rollouts.gate import Verdict, decide
from edge.rollouts.watch import MOST_PEERS
from edge.telemetry.records import ModelWindow

SPAN_S = 10
EXCHANGE_S = 3
PATIENCE_S = 40
CONDITIONS = Conditions(dwell_s=SPAN_S)
WAVES = {4: (1, 3), 20: (1, 5, 14), 100: (1, 10, 89)}
LOWEST, BUCKETS = -150, 500
"""Buckets of the sketch that are counted here: 2.5 µs to 10 s."""


@dataclass(frozen=True)
class Scene:
    """What is simulated. Deviations are of logarithms."""

    boards: int
    noise: float = 0.05
    slowdown: float = 1.0
    error_rate: float = 0.001
    bad_error_rate: float = 0.001
    load: float = 0.15
    own: float = 0.02
    before: bool = True
    first_wave_only: bool = False


@dataclass(frozen=True)
class End:
    """How a simulated rollout ended: the verdict, in which wave, and after how many seconds of it."""

    verdict: Verdict
    wave: int
    seconds: int
    check: str = ""


class Fleet:
    """Boards under requests, a second at a time."""

    def __init__(self, scene: Scene, random: np.random.Generator) -> None:
        self.scene, self.random = scene, random
        self.base = math.log(0.2) + random.normal(0, scene.noise, scene.boards)
        self.rate = random.uniform(20, 50, scene.boards)
        self.load = random.normal(0, scene.load)
        self.own = random.normal(0, scene.own, scene.boards)
        self.jump = random.integers(10, 60) if random.random() < 0.1 else -1
        self.clock = 0
        self.updated = np.zeros(scene.boards, bool)

    def second(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Requests and errors by board, and runs by board and bucket, of the next second."""
        scene, random = self.scene, self.random
        self.load += -self.load / 20 + random.normal(0, scene.load * math.sqrt(2 / 20))
        self.own += -self.own / SPAN_S + random.normal(0, scene.own * math.sqrt(2 / SPAN_S), scene.boards)
        jumped = 0.4 if 0 <= self.jump <= self.clock else 0.0
        self.clock += 1
        requests = random.poisson(self.rate)
        chance = np.where(self.updated, scene.bad_error_rate, scene.error_rate)
        errors = random.binomial(requests, chance)
        level = self.base + self.own + self.load + jumped + self.updated * math.log(scene.slowdown)
        board = np.repeat(np.arange(scene.boards), requests - errors)
        scatter = random.normal(0, 0.25, len(board))
        tail = random.random(len(board)) < 1 / 30
        scatter[tail] += random.exponential(1 / 1.5, tail.sum())
        bucket = np.ceil((level[board] + scatter) / math.log(GAMMA)).astype(int) - LOWEST
        flat = np.bincount(board * BUCKETS + bucket.clip(0, BUCKETS - 1), minlength=scene.boards * BUCKETS)
        return requests, errors, flat.reshape(scene.boards, BUCKETS)


class Span:
    """What was counted since a moment."""

    def __init__(self, fleet: Fleet, seconds: int = 0) -> None:
        self.fleet, self.seconds = fleet, 0
        boards = fleet.scene.boards
        self.requests, self.errors = np.zeros(boards, int), np.zeros(boards, int)
        self.runs = np.zeros((boards, BUCKETS), int)
        for _ in range(seconds):
            self.go()

    def go(self) -> None:
        """One second more."""
        requests, errors, runs = self.fleet.second()
        self.requests += requests
        self.errors += errors
        self.runs += runs
        self.seconds += 1

    def windows(self, board: int, release: str) -> tuple[ModelWindow, ...]:
        """As the store would give them."""
        filled = np.flatnonzero(self.runs[board])
        numbers = map(str, (filled + LOWEST).tolist())
        counts = dict(zip(numbers, self.runs[board][filled].tolist(), strict=True))
        errors = int(self.errors[board])
        window = ModelWindow(
            device=str(board),
            model="digits",
            release=release,
            seconds=float(self.seconds),
            requests=int(self.requests[board]),
            errors={"engine.failed": errors} if errors else {},
            batches=sum(counts.values()),
            queue=0,
            compute_s=0.0,
            latency_ms=Sketch(),
            compute_ms=Sketch(counts),
        )
        return (window,)


def rollout(scene: Scene, seed: int) -> End:
    """One rollout from its first wave to its end."""
    fleet = Fleet(scene, np.random.default_rng(seed))
    end, first = End(Verdict.ADVANCE, 0, 0), 0
    waves = WAVES[scene.boards]
    for number, size in enumerate(waves[:1] if scene.first_wave_only else waves, 1):
        wave, peers = range(first, first + size), range(first + size, scene.boards)
        end = judge(fleet, wave, peers, number, len(waves))
        if end.verdict is not Verdict.ADVANCE:
            break
        first += size
    return end


def judge(fleet: Fleet, wave: range, peers: range, number: int, waves: int) -> End:
    """One wave: a look each second until the gate says more than Hold."""
    span, look_s = Span(fleet, SPAN_S), 2 if fleet.scene.boards > 20 else 1
    peers = peers[:MOST_PEERS]
    before = {
        board: span.windows(board, "digits@3") if fleet.scene.before else () for board in (*wave, *peers)
    }
    fleet.updated[wave] = True
    for _ in range(EXCHANGE_S):
        fleet.second()
    now = Span(fleet)
    while now.seconds < SPAN_S + PATIENCE_S:
        for _ in range(look_s):
            now.go()
        evidence = Evidence(
            release="digits@4",
            wave=tuple(
                BoardEvidence(
                    device=str(board),
                    profile="rpi",
                    end=UpdateEnd.CONFIRMED,
                    silent_s=0.0,
                    now=now.windows(board, "digits@4"),
                    before=before[board],
                )
                for board in wave
            ),
            peers=tuple(
                BoardEvidence(
                    device=str(board),
                    profile="rpi",
                    now=now.windows(board, "digits@3"),
                    before=before[board],
                )
                for board in peers
            ),
            waves=waves,
        )
        decision = decide(evidence, CONDITIONS)
        if decision.verdict is not Verdict.HOLD:
            return End(decision.verdict, number, now.seconds, decision.reasons[0].name)
    return End(Verdict.HOLD, number, now.seconds, decision.reasons[0].name)


def several(work: tuple[Scene, int, int]) -> list[End]:
    """So many rollouts of a scene."""
    scene, first, count = work
    return [rollout(scene, seed) for seed in range(first, first + count)]


def simulate(pool: ProcessPoolExecutor, scene: Scene, count: int, seed: int) -> list[End]:
    """In portions, so that every core has work to the end."""
    portion = max(1, count // 8)
    work = [(scene, seed * 1_000_000 + at, min(portion, count - at)) for at in range(0, count, portion)]
    return [end for ends in pool.map(several, work) for end in ends]


def equal_boards() -> Iterator[tuple[str, Scene, float]]:
    """Scenes in which the release is as good as the one before, with the part of the rollouts to simulate."""
    part = {4: 1.0, 20: 0.2, 100: 0.05}
    for boards in WAVES:
        for noise in (0.0, 0.05, 0.1):
            yield f"{noise:.0%}", Scene(boards, noise), part[boards]
    yield "5%, own drift 4 %", Scene(4, own=0.04), 1.0
    yield "5%, load wanders by 30 %", Scene(4, load=0.3), 1.0
    yield "5%, nothing from before", Scene(4, before=False), 1.0
    yield "10%, nothing from before", Scene(4, 0.1, before=False), 1.0


def print_false_alarms(pool: ProcessPoolExecutor, count: int, seed: int) -> None:
    """Equal boards."""
    print("| boards | boards differ by | rollouts | halted | by | held | seconds of the last wave |")
    print("|---:|---|---:|---:|---|---:|---:|")
    for said, scene, part in equal_boards():
        ends = simulate(pool, scene, max(1, int(count * part)), seed)
        by = Counter(f"{end.check} in wave {end.wave}" for end in ends if end.verdict is Verdict.ROLLBACK)
        told = ", ".join(f"{name}: {n}" for name, n in by.most_common()) or "–"
        seconds = statistics.mean(end.seconds for end in ends)
        halted, held = shares(ends, Verdict.ROLLBACK), shares(ends, Verdict.HOLD)
        print(
            f"| {scene.boards} | {said} | {len(ends)} | {halted} | {told} | {held} | {seconds:.1f} |",
            flush=True,
        )


def print_detection(pool: ProcessPoolExecutor, count: int, seed: int) -> None:
    """A worse release in the first wave, which is one board."""
    worse = [(f"{slower - 1:+.0%} compute time", {"slowdown": slower}) for slower in (1.2, 1.5, 5.0)]
    worse.append(("errors 0.1 % to 2 %", {"bad_error_rate": 0.02}))
    print("| the release | boards | halted | advanced | held | seconds to halt: half, nine of ten |")
    print("|---|---:|---:|---:|---:|---|")
    for said, change in worse:
        for boards in (4, 20):
            scene = replace(Scene(boards, first_wave_only=True), **change)
            ends = simulate(pool, scene, count // 2, seed)
            halts = sorted(end.seconds for end in ends if end.verdict is Verdict.ROLLBACK)
            told = f"{halts[len(halts) // 2]}, {halts[len(halts) * 9 // 10]}" if halts else "–"
            found = [shares(ends, kind) for kind in (Verdict.ROLLBACK, Verdict.ADVANCE, Verdict.HOLD)]
            print(f"| {said} | {boards} | {' | '.join(found)} | {told} |", flush=True)


def shares(ends: list[End], verdict: Verdict) -> str:
    """How many ended so, in percent."""
    return f"{100 * sum(end.verdict is verdict for end in ends) / len(ends):.3g} %"


def main() -> None:
    """Simulate, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        print_false_alarms(pool, options.rollouts, options.seed)
        print()
        print_detection(pool, options.rollouts, options.seed)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
