"""The course of a run: everything is started, made to suffer by the plan, left in peace until drained, and counted.

The rule: what was started is ended, whatever happens; and a run that can't be judged (a part that ends by itself, no
samples any more) is an error, never a good result.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agent.contract.errors import ChaosFailed
from agent.contract.link import OUTBOX_BYTES
from edge import durable
from edge.certificates import CertificateAuthority
from edge.config import FleetFolder
from edge.progress import Progress
from edge.settings import render
from edge.sim.chaos import ledger
from edge.sim.chaos.board import Board
from edge.sim.chaos.collecting import Broker, Collector
from edge.sim.chaos.count import Counted, count
from edge.sim.chaos.parts import Part
from edge.sim.chaos.plan import BROKER, COLLECTOR, Deed, Fault, Plan
from edge.sim.chaos.witness import Witness

INTERVAL_S = 0.005
SMALL_OUTBOX_BYTES = 256 * 1024
"""Of the last board: two seconds of its samples. It has to drop some, and to say which."""
LOOK_S = 0.1
TELL_S = 5.0
ASK_S = 0.5
STUCK_S = 60.0
REPORT_S = 2.0
"""From change to change of a board's report, each of which is an event among the samples."""
QUIET_S = 2.0
"""Without a change for so long, each board has seen that it shall be quiet, and all that was read is committed."""
EMPTY_S = 10.0
"""Without a change for so long, boards that hold nothing have stated what they dropped, too."""
PATIENCE_S = 45.0
"""Longer than a board waits before it asks again whether the collector is there."""
SAID = {
    Deed.KILL: "killed",
    Deed.CUT: "cut",
    Deed.UNPLUG: "unplugged",
    Deed.STALL: "stalled",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run showed.

    Attributes:
        plan: that it went by. broker: which one was used.
        counted: what became of the samples.
        making_s, draining_s: how long samples were made, and how long it took until all had arrived, in seconds.
        repeated: numbers that came again, at the least: what a killed collector counted last is not known.
        collected: what the store counted besides.
    """

    plan: Plan
    broker: str
    counted: Counted
    making_s: float
    draining_s: float
    repeated: int
    collected: ledger.Collected

    @property
    def rate(self) -> float:
        """Numbers a second that were given, sent, committed and acknowledged, from the start to the last one."""
        return self.counted.given / (self.making_s + self.draining_s)


def run(
    plan: Plan, *, broker: str, interval_s: float = INTERVAL_S, keep: Path | None = None, progress: Progress
) -> Outcome:
    """Carry out a plan in a fleet folder of its own.

    Args:
        plan: what is done.
        broker: `mosquitto` or `embedded`.
        interval_s: seconds from sample to sample of one board.
        keep: an empty or new folder to work in and to leave as it is at the end; None for one that is removed.
        progress: is told what happens.

    Raises:
        ChaosFailed: a part ended by itself, or nothing went on any more: there is nothing to be judged.
    """
    with _folder(keep) as folder, ExitStack() as started:
        course = Course(plan, folder, broker=broker, interval_s=interval_s, progress=progress)
        for end in course.ends:
            started.callback(end)
        asyncio.run(course.play())
        started.close()
        given = course.witness.judge(course.boards)
        making_s, draining_s = course.times_s
        return Outcome(
            plan=plan,
            broker=broker,
            counted=count(given, ledger.kept(course.fleet.store)),
            making_s=making_s,
            draining_s=draining_s,
            repeated=course.repeated,
            collected=ledger.collected(course.fleet.store),
        )


class Course:
    """One run in the folder `folder`.

    Attributes:
        fleet: its fleet folder. witness: knows what boards gave.
        times_s: how long samples were made, and how long it took until all had arrived, in seconds.
    """

    def __init__(
        self, plan: Plan, folder: Path, *, broker: str, interval_s: float, progress: Progress
    ) -> None:
        self.fleet = _fleet(folder / "fleet", broker)
        self.times_s = (0.0, 0.0)
        self.witness = Witness()
        self._plan = plan
        self._interval_s = interval_s
        self._progress = progress
        self._boards = {name: Board(name, folder / name, self.fleet) for name in plan.boards}
        self._collector = Collector(self.fleet)
        self._broker = Broker(self.fleet)
        self._parts: dict[str, Part] = {**self._boards, COLLECTOR: self._collector, BROKER: self._broker}
        self._repeated: dict[int, int] = {}
        self._events = 0
        self._made = 0
        self._done = 0
        self._more = asyncio.Condition()

    async def play(self) -> None:
        """From the first start until all samples have arrived, or nothing more can be expected."""
        try:
            await self._course()
        finally:
            # A relay that still listened would take boards' connections while the loop ends.
            for board in self._boards.values():
                board.relay.unplug()

    async def _course(self) -> None:
        await self._start()
        began = time.monotonic()
        asking = asyncio.create_task(self._ask())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                for part in self._plan.parts:
                    group.create_task(self._suffer(part))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        made = time.monotonic()
        self._made = await self._look()
        self._progress.step(f"{self._made:,} samples made, {self._done} faults; now in peace until drained")
        for board in self._boards.values():
            board.be_quiet()
        await self._drain()
        asking.cancel()
        self.times_s = (made - began, time.monotonic() - made)

    @property
    def boards(self) -> Collection[Board]:
        """All of them."""
        return self._boards.values()

    @property
    def repeated(self) -> int:
        """Numbers that came again to all collectors of this run."""
        return sum(self._repeated.values())

    @property
    def ends(self) -> tuple[Callable[[], None], ...]:
        """What ends everything that is started; the last one first, each one whatever becomes of the others."""
        return (self._broker.end, self._collector.end, *(board.kill for board in self._boards.values()))

    async def _start(self) -> None:
        await asyncio.to_thread(self._collector.start)
        authority = CertificateAuthority(self.fleet.keys).certificate
        for board in self._boards.values():
            board.link(
                collector=self._collector.id,
                authority=authority,
                interval_s=self._interval_s,
                outbox_bytes=SMALL_OUTBOX_BYTES if board.name == self._plan.boards[-1] else OUTBOX_BYTES,
            )
            await board.relay.plug()
            board.start()
        self._progress.step(f"{len(self._boards)} boards, the collector and its broker have been started")

    async def _suffer(self, name: str) -> None:
        """All that is done to one part, one after the other."""
        for fault in self._plan.faults:
            if fault.part == name:
                async with self._more:
                    await self._more.wait_for(lambda at=fault.at: self._made >= at)  # type: ignore[misc]
                await self._do(fault)
                self._done += 1

    async def _do(self, fault: Fault) -> None:
        lasting = f" for {fault.for_s:.1f} s" if fault.for_s else ""
        self._progress.step(f"{self._made:,}: {fault.part} {SAID[fault.deed]}{lasting}")
        if fault.deed is Deed.CUT:
            self._boards[fault.part].relay.cut()
        elif fault.deed is Deed.UNPLUG:
            self._boards[fault.part].relay.unplug()
            await asyncio.sleep(fault.for_s)
            await self._boards[fault.part].relay.plug()
        elif fault.deed is Deed.KILL:
            await asyncio.to_thread(self._parts[fault.part].kill)
            if fault.part in self._boards:
                self.witness.read(self._boards[fault.part])
            await asyncio.sleep(fault.for_s)
            await asyncio.to_thread(self._parts[fault.part].start)
        else:
            self._parts[fault.part].stall()
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                self._parts[fault.part].go_on()

    async def _watch(self) -> None:
        """See how many samples were made, and tell the others, until they are enough."""
        moved = told = reported = time.monotonic()
        while self._made < self._plan.samples:
            await asyncio.sleep(LOOK_S)
            made = await self._look()
            now = time.monotonic()
            if now - reported > REPORT_S:
                reported = now
                await asyncio.to_thread(self._report)
            if made > self._made:
                moved = now
            elif now - moved > STUCK_S:
                raise ChaosFailed(part="run", reason=f"no sample was made for {STUCK_S:.0f} s")
            if now - told > TELL_S:
                told = now
                self._progress.step(f"{made:,} of {self._plan.samples:,} samples made")
            async with self._more:
                self._made = made
                self._more.notify_all()

    async def _look(self) -> int:
        """How many samples were made so far, at the least: not every report was seen, and became an event."""
        self._collector.check()
        for board in self._boards.values():
            board.check()
            board.relay.inner_port = self._broker.port
            await self.witness.ask(board)
        return self.witness.given - self._events

    def _report(self) -> None:
        """An event of each board."""
        for board in self._boards.values():
            board.report()
            self._events += 1

    async def _ask(self) -> None:
        """Ask the collector how much came again, for as long as it is not cancelled; it may be long in answering."""
        while True:
            self._repeated |= await asyncio.to_thread(self._collector.repeated)
            await asyncio.sleep(ASK_S)

    async def _drain(self) -> None:
        """Until no board holds anything, or nothing arrives any more: what is missing then is waiting, or lost."""
        moved = time.monotonic()
        before = (0, 0)
        while time.monotonic() - moved < PATIENCE_S:
            await asyncio.sleep(LOOK_S)
            await self._look()
            missing = self.witness.missing(await asyncio.to_thread(ledger.arrived, self.fleet.store))
            if (now := (self.witness.given, missing)) != before:
                before, moved = now, time.monotonic()
            quiet_s = time.monotonic() - moved
            if quiet_s > (EMPTY_S if missing else QUIET_S) and (not missing or self.witness.nothing_is_held):
                return


def _fleet(folder: Path, broker: str) -> FleetFolder:
    fleet = FleetFolder.create(folder, "chaos")
    durable.write(fleet.edge_toml, render(replace(fleet.config, mqtt_broker=broker)).encode())
    return FleetFolder.open(folder)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        durable.make_folder(keep)
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="edge-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
