"""Rounds of power cuts on one board: asked, cut, switched on, and left alone until it has settled."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.contract.release import DesiredState, Generation
from tests.beds.systemd_container import SystemdContainer
from tests.journeys.power_cuts.answers import Load
from tests.journeys.power_cuts.bed import Bed, CutBoard, Watch
from tests.journeys.power_cuts.checks import Found, broken
from tests.journeys.power_cuts.fleet import REFUSED, Fleet, Push
from tests.journeys.power_cuts.phases import Cut, Kind, Span, draw, phase, spans, until_refused

HEADER = (
    "| round | update | moment, s | phase at the cut | answered / failed before | first answer by |"
    " power to login, s | to serving, s | to the end, s | end | serves |\n"
    "|---:|---|---:|---|---:|---|---:|---:|---:|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of one cut."""

    number: int
    cut: Cut
    asked: str
    phase: str
    answered: int
    failed: int
    first: str
    login_s: float
    serving_s: float
    settled_s: float
    end: str
    serves: str
    broken: tuple[str, ...]

    @property
    def row(self) -> str:
        """Of the table."""
        return (
            f"| {self.number} | {self.asked} ({self.cut.kind.value}) | {self.cut.moment_s:.1f} | {self.phase} |"
            f" {self.answered} / {self.failed} | {self.first} | {self.login_s:.0f} | {self.serving_s:.0f} |"
            f" {self.settled_s:.0f} | {self.end} | {self.serves} |"
        )


class Rounds:
    """One board, flashed once."""

    def __init__(self, fleet: Fleet, board: CutBoard, *, serves_s: float) -> None:
        self._fleet = fleet
        self._serves_s = serves_s
        self._board = board
        self._reported = fleet.believed(board.look()["reported"])

    def measure(self) -> dict[Kind, list[Span]]:
        """The phases of an update, by one that is not cut."""
        desired = self._assign(Kind.MODEL)
        with self._at_work() as (watch, load):
            push = Push(self._fleet, desired)
            push.wait_for_begin()
            push.join()
            assert push.ended_at is not None, push.error
            found = self._look(desired)
        assert [*broken(found, self._fleet), *load.wrong] == []
        measured = spans(watch.heard, desired.counter, begun_at=push.begun_at, ended_at=push.ended_at)
        shown = ", ".join(f"{one.phase} {one.begun_s:.1f}–{one.ended_s:.1f}" for one in measured)
        print(f"uncut: {shown} s; {len(load.answered)} answered, {len(load.failed)} failed", flush=True)
        self._reported = found.reported
        return {Kind.MODEL: measured, Kind.RUNTIME: measured, Kind.REFUSED: until_refused(measured)}

    def round(self, number: int, cut: Cut, *, last: bool) -> Round:
        """Cut once, and see what comes of it."""
        before = self._runs
        desired = self._assign(cut.kind)
        with self._at_work() as (watch, load):
            push = Push(self._fleet, desired)
            push.wait_for_begin()
            time.sleep(max(0.0, push.begun_at + cut.moment_s - time.monotonic()))
            assert push.error is None, f"the push failed before the cut: {push.error!r}"
            cut_at = time.monotonic()
            self._board.cut()
        push.join(timeout=120)
        powered_at, powered_on = time.time(), time.monotonic()
        login_s = self._board.boot()
        with Load(self._fleet.question, self._board.port) as after:
            while not after.answered and time.monotonic() < powered_on + self._serves_s:
                time.sleep(0.1)
            found = self._look(desired, at_all=last)
        self._reported = found.reported
        problems = [*broken(found, self._fleet), *load.wrong, *after.wrong]
        serving_s = after.answered[0][0] - powered_on if after.answered else float("inf")
        if serving_s > self._serves_s:
            problems.append(f"serves only after {serving_s:.0f} s")
        version = _version(found.expected.models[0].release)
        serves = after.answered[-1][1] if after.answered else ""
        if serves != version:
            problems.append(f"version {serves} answers, `current` names {version}")
        if problems:
            problems += found.look["log"]
        at_the_cut = [seen for at, seen in watch.heard if at <= cut_at]
        return Round(
            number=number,
            cut=cut,
            asked=f"{before.models[0].release} → {desired.generation.models[0].release}",
            phase=phase(at_the_cut[-1], desired.counter),
            answered=len([at for at, _ in load.answered if at <= cut_at]),
            failed=len([at for at, _ in load.failed if at <= cut_at]),
            first=f"digits@{after.answered[0][1]}" if after.answered else "nobody",
            login_s=login_s,
            serving_s=serving_s,
            settled_s=found.look["settled_at"] - powered_at,
            end=found.end,
            serves=f"digits@{serves}, generation {found.look['current']}",
            broken=tuple(problems),
        )

    @contextmanager
    def _at_work(self) -> Iterator[tuple[Watch, Load]]:
        watch = self._board.watch()
        try:
            watch.wait()
            with Load(self._fleet.question, self._board.port) as load:
                yield watch, load
        finally:
            watch.end()

    @property
    def _runs(self) -> Generation:
        assert self._reported.current is not None
        return self._reported.current

    def _look(self, desired: DesiredState, *, at_all: bool = False) -> Found:
        before, look = self._runs, self._board.look(at_all=at_all)
        return Found(look, self._fleet.believed(look["reported"]), before, desired)

    def _assign(self, kind: Kind) -> DesiredState:
        """What a round of this kind asks for: never what the board runs."""
        now = self._runs
        there = _version(now.models[0].release)
        version = REFUSED if kind is Kind.REFUSED else "2" if there == "1" else "1"
        others = [runtime for runtime in self._fleet.runtimes if runtime != now.runtime]
        runtime = others[0] if kind is Kind.RUNTIME else now.runtime
        return self._fleet.assign(version, runtime, seen=self._reported.counter)


def power_cuts(bed: Bed, work: Path, *, cuts: int, seed: int) -> list[Round]:
    """Flash one board, measure, cut it that often, and print the table."""
    fleet = Fleet(work, bed)
    with bed.make("cuts") as machine:
        board = CutBoard(machine)
        if isinstance(machine, SystemdContainer):  # an emulated board's user needs no password
            (machine.root / "etc/sudoers.d/99-pi").write_text("pi ALL=(ALL) NOPASSWD: ALL\n")
        fleet.flash_first(machine.board)
        board.connect()
        try:
            rounds = Rounds(fleet, board, serves_s=bed.serves_s)
            return _cut(rounds, cuts, seed, rounds.measure())
        finally:
            board.disconnect()


def _cut(rounds: Rounds, cuts: int, seed: int, measured: Mapping[Kind, list[Span]]) -> list[Round]:
    print(f"seed {seed}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n{HEADER}", flush=True)
    done = []
    for number, cut in enumerate(draw(cuts, seed, measured), 1):
        done.append(rounds.round(number, cut, last=number == cuts))
        print(done[-1].row, flush=True)
        for problem in done[-1].broken:
            print(f"    {problem}", flush=True)
    serving = sum(not one.broken for one in done)
    print(f"load {os.getloadavg()[0]:.1f}\n{len(done)} cuts, {serving} serving boards", flush=True)
    return done


def _version(release: str) -> str:
    return release.rpartition("@")[2]
