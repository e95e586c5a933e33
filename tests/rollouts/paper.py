"""Boards on paper: files that behave as boards do, under the real journal, engine and decisions.

Only SSH and TUF are left out. A board keeps what it was asked for and a history of what it carried out, so that a test
counts activations by the board's own word; it carries out what was pushed even when nobody waits for it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agent.contract.codec import decode, encode
from agent.contract.errors import ConnectionLost, DeviceBusy, HostUnreachable
from agent.contract.messages import HistoryEntry, Reported
from agent.contract.release import DesiredState, Generation, GenerationModel, Release
from agent.contract.states import UpdateState
from edge import durable
from edge.rollouts.assignment import assign
from edge.rollouts.choice import next_generation
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd
from edge.rollouts.fold import MemberNow, Rollout
from edge.rollouts.plan import Member, Patience, Plan, Wave
from edge.rollouts.road import Road
from edge.rollouts.state import MemberState
from edge.rollouts.update import Assigned, Ended, Hooks
from edge.settings import FleetConfig

PROFILE = "paper-board"
RUNTIME = "a" * 64
OLD, NEW = "digits@3", "digits@4"
BUNDLES = {OLD: "3" * 64, NEW: "4" * 64}


def model(release: str) -> GenerationModel:
    return GenerationModel(name="digits", release=release, bundle=BUNDLES[release])


def generation(number: int, release: str) -> Generation:
    return Generation(number=number, runtime=RUNTIME, models=(model(release),))


def plan_of(*waves: tuple[str, ...], patience: Patience | None = None, **conditions: str) -> Plan:
    """A plan for boards of these names."""
    from edge.rollouts.conditions import read_conditions

    usual = {"min_requests": "0", "dwell_s": "0"}
    return Plan(
        rollout="digits-4-1",
        release=NEW,
        waves=tuple(
            Wave(rule=str(len(names)), members=tuple(member(name) for name in names)) for names in waves
        ),
        conditions=read_conditions({**usual, **conditions}).texts(),
        patience=patience or Patience(reach_s=0.3, hold_s=0.5),
    )


def member(name: str) -> Member:
    return Member(device=name, device_id=f"id-{name}", profile=PROFILE, bundle=BUNDLES[NEW])


@dataclass
class Board:
    """One board: `good`, `refuses`, `rolls-back`; it may be `away`, or lose the next connections after the push."""

    folder: Path
    name: str

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def rules(self) -> Path:
        return self.folder / f"{self.name}.rules"

    def make(self) -> Board:
        self.folder.mkdir(parents=True, exist_ok=True)
        first = Reported(
            device=f"id-{self.name}", counter=1, state=UpdateState.CONFIRMED, nonce="00", wall=1,
            current=generation(1, OLD), history=(HistoryEntry(1, OLD, UpdateState.CONFIRMED, 1),),
        )  # fmt: skip
        durable.write(self.file, encode(first))
        self.behave()
        return self

    def behave(self, **rules: Any) -> None:
        """`new`: how it takes the new release; `away`: nobody reaches it; `cuts`: connections lost after a push;
        `trial_s`: how long a trial takes; it is asked again while one goes on, so that a test can end it."""
        usual = {"new": "confirmed", "away": False, "cuts": 0, "trial_s": 0.0}
        durable.write(self.rules, json.dumps(usual | rules).encode())

    def rule(self, name: str) -> Any:
        return json.loads(self.rules.read_bytes())[name]

    @property
    def report(self) -> Reported:
        return decode(Reported, self.file.read_bytes())

    @property
    def runs(self) -> str:
        current = self.report.current
        return current.title if current else "nothing"

    def activations(self, release: str = NEW) -> int:
        """How often it carried out a desired state that names `release`."""
        return sum(entry.title == release for entry in self.report.history)

    def carry_out(self, desired: DesiredState) -> Reported:
        """What the update process does with a push: nothing with one that it looked at."""
        report = self.report
        if desired.counter <= report.counter:
            return report
        wanted = desired.generation
        new = wanted.title == NEW
        state = UpdateState(self.rule("new")) if new else UpdateState.CONFIRMED
        well = state is UpdateState.CONFIRMED
        adopted = report.current is not None and report.current.same_content(wanted)
        entry = HistoryEntry(desired.counter, wanted.title, state, 1, None if well else "trial.too-slow")
        report = dataclasses.replace(
            report, counter=desired.counter, state=state, nonce=desired.nonce, request=desired.nonce,
            current=wanted if well else report.current, previous=report.current if well else report.previous,
            history=report.history if adopted else (entry, *report.history),
            code=entry.code, message="too slow" if entry.code else None,
        )  # fmt: skip
        durable.write(self.file, encode(report))
        return report


class PaperRepository:
    """What was signed for each board."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._alone = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def desired(self, device: str) -> DesiredState | None:
        path = self._folder / f"{device}.desired"
        return decode(DesiredState, path.read_bytes()) if path.exists() else None

    def next_counter(self, device: str, *, seen: int = 0) -> int:
        last = self.desired(device)
        return 1 + max(seen, last.counter if last else 0)

    def assign(self, desired: DesiredState) -> None:
        with self._alone:
            last = self.desired(desired.device)
            assert last is None or desired.counter > last.counter
            durable.write(self._folder / f"{desired.device}.desired", encode(desired))


@dataclass(frozen=True)
class Visit:
    board: Board
    memory: Any
    reported: Reported


class PaperRoad(Road):
    """The real decisions about a board, on paper."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        fleet = SimpleNamespace(config=FleetConfig(fleet="paper-abcdef"))
        self._workspace: Any = SimpleNamespace(repository=PaperRepository(folder), folder=fleet)
        self._release = Release(name="digits", version=4, bundles={PROFILE: BUNDLES[NEW]})

    @contextmanager
    def _visit(self, member: Member) -> Iterator[Any]:
        board = Board(self._folder, member.device)
        with board.rules.with_suffix(".lock").open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DeviceBusy(device=member.device) from None
            if board.rule("away"):
                raise HostUnreachable(host=member.device, port=22, reason="no route")
            memory = SimpleNamespace(device=SimpleNamespace(device_id=member.device_id))
            yield Visit(board, memory, board.report)

    def _content(self, visit: Any, member: Member) -> Generation:
        return next_generation(1, runtime=RUNTIME, model=model(NEW), current=visit.reported.current)

    def _carry_out(self, visit: Any, content: Generation, hooks: Hooks) -> Ended:
        board: Board = visit.board
        hooks.go_on()
        desired = assign(self._workspace, f"id-{board.name}", content, visit.reported)
        hooks.on_assigned(Assigned(desired=desired, before=visit.reported.current))
        began = time.monotonic()
        while time.monotonic() < began + board.rule("trial_s"):
            hooks.go_on()
            time.sleep(0.005)
        report = board.carry_out(desired)
        if cuts := board.rule("cuts"):
            board.behave(**{**json.loads(board.rules.read_bytes()), "cuts": cuts - 1})
            raise ConnectionLost(host=board.name, doing="carrying out the update")
        return Ended(
            desired=desired, reported=report, taken=report.counter == desired.counter, sent_bytes=0, push_s=0,
            trial_s=0,
        )  # fmt: skip


ENDS = {
    MemberState.UPDATED: UpdateEnd.CONFIRMED,
    MemberState.UNCHANGED: UpdateEnd.CONFIRMED,
    MemberState.FAILED: UpdateEnd.FAILED,
}


@dataclass
class PaperWitness:
    """Knows how updates ended, and of windows what a test puts in."""

    reports: dict[str, Reported] = field(default_factory=dict)
    marks: int = 0
    readable: bool = True

    def keep_collecting(self) -> None:
        """Nobody collects on paper."""

    def mark(self) -> int | None:
        self.marks += 1
        return self.marks if self.readable else None

    def span_before(self, seconds: float) -> tuple[int, ...]:
        return ()

    def report(self, device_id: str) -> Reported | None:
        return self.reports.get(device_id)

    def evidence(self, rollout: Rollout) -> Evidence:
        return Evidence(
            release=rollout.plan.release,
            wave=tuple(
                BoardEvidence(
                    device=member.device_id, profile=member.profile, silent_s=0.0,
                    end=end_of(rollout.members[member.device]),
                )
                for member in rollout.current_wave.members
            ),
            peers=(),
            waves=len(rollout.plan.waves),
        )  # fmt: skip


def end_of(now: MemberNow) -> UpdateEnd:
    return UpdateEnd.UNREACHABLE if now.unreached else ENDS.get(now.state, UpdateEnd.PENDING)
