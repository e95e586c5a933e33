"""The update's own machine, with any outcomes of its steps, cut and filled up anywhere: an end is reached, and only
what passed is `current`. What the steps themselves do is tested elsewhere on real processes.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import encode
from agent.contract.errors import InferenceFailed, InstallFailed
from agent.contract.manifest import EngineName
from agent.contract.release import DesiredState, Generation, GenerationModel, TrialTerms
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from agent.contract.states import END_STATES, UpdateState
from agent.update import machine as stepping
from agent.update.child import Interrupted
from agent.update.files import Files
from agent.update.folder import UpdateFolder
from agent.update.identity import ensure_key
from agent.update.inbox import Inbox
from agent.update.machine import Machine
from agent.update.objects import ObjectStore
from agent.update.probation import Look
from agent.update.record import Reason, load
from agent.update.report import Journal
from agent.update.stage import write_generation

DEVICE = "d-0123456789"
ATTEMPTS = 3
BAD = Reason.of(InferenceFailed(model="digits@1", reason="no"))
PRIMITIVES = ("write", "sync", "sync_folder", "rename", "symlink", "unlink", "mkdir", "rmdir", "chmod")


class Cut(BaseException):
    """The power went."""


@dataclass(frozen=True)
class Turn:
    """One run of the update process.

    Attributes:
        asks: something newer is asked for first. check, probation: how these end in each attempt of the run.
        returns: `current` serves again when it is returned to.
        fall: what happens at the change of the file system with the number `at`: `before`, `after`, `full`, or nothing.
    """

    asks: bool
    check: str
    probation: str
    returns: bool
    fall: str
    at: int


turns = st.builds(
    Turn,
    asks=st.booleans(),
    check=st.sampled_from(["passes", "passes", "fails", "raises", "newer", "cut"]),
    probation=st.sampled_from(["passes", "passes", "fails", "raises", "newer", "cut"]),
    returns=st.booleans(),
    fall=st.sampled_from(["", "before", "after", "full"]),
    at=st.integers(0, 60),
)


class Falling(Files):
    """A file system that falls over at one change."""

    def __init__(self, turn: Turn | None = None) -> None:
        self._turn = turn
        self._done = 0

    def _change(self, name: str, *arguments: Any, **options: Any) -> Any:
        number, self._done = self._done, self._done + 1
        turn = self._turn
        falls = turn is not None and turn.fall and number == turn.at
        if (
            turn is not None
            and turn.fall == "full"
            and number >= turn.at
            and name in ("write", "mkdir", "symlink")
        ):
            raise OSError(errno.ENOSPC, "full")
        if falls and turn is not None and turn.fall == "before":
            raise Cut
        done = getattr(Files, name)(self, *arguments, **options)
        if falls and turn is not None and turn.fall == "after":
            raise Cut
        return done


def _falling(name: str) -> Callable[..., Any]:
    return lambda self, *arguments, **options: self._change(name, *arguments, **options)


for _name in PRIMITIVES:
    setattr(Falling, _name, _falling(_name))


@dataclass
class Nobody:
    """No agent runs; whether one would serve is drawn. `fails`: whoever would run it can't be told."""

    fails: bool = False

    def reload(self) -> None:
        """See Service."""
        if self.fails:
            raise InstallFailed(host="here", step="telling it", reason="nobody is there")

    restart = stop = reload


@dataclass
class World:
    """A board's folder, what was asked of it, and what was seen."""

    folder: UpdateFolder
    runtime: str = ""
    counter: int = 0
    passed: set[int] = field(default_factory=set)
    begun: Counter[int] = field(default_factory=Counter)
    serves: int | None = None
    turn: Turn | None = None
    service: Nobody = field(default_factory=Nobody)

    def open(self, *, waits: bool = True) -> Machine:
        files = Falling(self.turn)
        config = BoardConfig(fleet="f", device=DEVICE, serial="1", profile="p", service=SERVICE_SUPERVISOR)
        journal = Journal(self.folder, config, load(self.folder), files=files)
        store = ObjectStore(self.folder, Inbox(self.folder.inbox), files)
        return Machine(
            journal, store=store, service=self.service, newer=lambda: False, waits=waits, files=files
        )

    def play(self, turn: Turn | None) -> bool:
        """One run: what `apply` does, without an inbox. Whether it fell over."""
        self.turn = turn
        try:
            machine = self.open()
            machine.settle_at_start()
            machine.settle_agent()
            if turn is not None and turn.asks:
                self.counter += 1
                if machine.journal.record.in_progress:
                    machine.supersede(self.counter)
                self.ask(machine)
            if not machine.run():
                machine.supersede(self.counter + 1)
        except Cut:
            return True
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.folder.trial.unlink(missing_ok=True)
            return True
        return False

    def ask(self, machine: Machine) -> None:
        bundle = f"{self.counter:064x}"
        _object(self.folder, bundle, b"{}")
        generation = Generation(self.counter, self.runtime, (GenerationModel("digits", "digits@1", bundle),))
        desired = DesiredState(
            fleet="f", device=DEVICE, counter=self.counter, generation=generation, nonce="0" * 32, not_before=0,
            terms=TrialTerms(max_attempts=ATTEMPTS),
        )  # fmt: skip
        write_generation(desired, folder=self.folder, files=Files())
        record = machine.journal.record
        machine.journal.save(replace(record, digest="0" * 64))
        machine.accept(_Verified(desired), request=None)  # type: ignore[arg-type]

    def step(self, kind: str) -> Reason | None:
        """How a step of a trial ends."""
        how = getattr(self.turn, kind) if self.turn is not None else "passes"
        number = load(self.folder).counter
        if how == "cut":
            raise Cut
        if how == "newer":
            raise Interrupted
        if how == "raises":
            raise OSError(errno.EIO, "bad storage")
        if how == "passes" and kind == "probation":
            self.passed.add(number)
        return BAD if how == "fails" else None

    def holds(self) -> None:
        """What is true whenever the board is looked at."""
        record = load(self.folder)
        assert record.current is None or record.current in self.passed, "only what passed is current"
        assert self.folder.linked(self.folder.current) in (None, *self.passed)
        for number in (record.current, record.previous):
            if number is not None:
                assert (self.folder.generation(number) / "generation.json").is_file()
                assert self.folder.object(f"{number:064x}").is_dir(), "nothing that is referenced is gone"
        assert all(attempts <= ATTEMPTS for attempts in self.begun.values())


@dataclass(frozen=True)
class _Verified:
    """What the machine reads of a desired state that was verified."""

    desired: DesiredState
    digest: str = "1" * 64
    versions: str = "tuf root 1"


@contextmanager
def world() -> Iterator[World]:
    place = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    root = Path(tempfile.mkdtemp(dir=place))
    try:
        made = UpdateFolder(root)
        for path in (made.objects, made.generations, made.state, made.inbox, made.run):
            path.mkdir()
        ensure_key(made, files=Files())
        yield World(made, runtime=runtime_object(made, "a"))
    finally:
        for path in root.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(root)


def runtime_object(folder: UpdateFolder, name: str) -> str:
    layer = name * 64
    _object(folder, layer, b"")
    manifest = RuntimeManifest(
        platform=Platform("x86_64", "3.11", "2.17"), engine=EngineName.LITERT, engine_version="2.3.0",
        agent_version="0.1.0", contracts=(1,), layers=(Layer("edge-agent", name, layer, 1, 1),),
    )  # fmt: skip
    digest = (name * 63) + "0"
    _object(folder, digest, encode(manifest))
    return digest


def _object(folder: UpdateFolder, digest: str, manifest: bytes) -> None:
    folder.object(digest).mkdir(exist_ok=True)
    (folder.object(digest) / "manifest.json").write_bytes(manifest)


@pytest.fixture(autouse=True, scope="module")
def drawn_outcomes() -> Iterator[list[World]]:
    """The steps of a trial end as the turn says."""
    now: list[World] = []

    def check(desired: DesiredState, **_: Any) -> tuple[tuple[()], Reason | None]:
        now[-1].begun[desired.counter] += 1
        return (), now[-1].step("check")

    def probation(desired: DesiredState, **_: Any) -> Reason | None:
        before = load(now[-1].folder)
        assert before.state is UpdateState.PROBATION, "saved before it is acted on"
        now[-1].serves = desired.generation.number
        return now[-1].step("probation")

    def serve(number: int, **_: Any) -> Look:
        turn = now[-1].turn
        now[-1].service.reload()
        if turn is None or turn.returns:
            now[-1].serves = number
        return Look(reason="" if turn is None or turn.returns else "it does not start")

    with pytest.MonkeyPatch.context() as patch:
        for name, what in (("check", check), ("probation", probation), ("serve", serve)):
            patch.setattr(stepping, name, what)
        patch.setattr(stepping, "served_generation", lambda _folder: now[-1].serves)
        patch.setattr(stepping, "serving_connected", lambda _folder, _host: False)
        yield now


@settings(max_examples=40, deadline=None)
@given(plan=st.lists(turns, max_size=8))
def test_whatever_happens_an_end_is_reached_and_only_what_passed_is_current(
    drawn_outcomes: list[World], plan: list[Turn]
) -> None:
    with world() as board:
        drawn_outcomes.append(board)
        for turn in plan:
            board.play(turn)
            board.holds()
        before = load(board.folder)
        board.play(None)
        board.holds()
        record = load(board.folder)
        assert record.state in END_STATES, "one run that nothing disturbs comes to an end"
        assert board.folder.linked(board.folder.current) == record.current
        assert board.folder.linked(board.folder.trial) is None
        assert record.attempts <= ATTEMPTS
        if record.current is not None:
            assert board.serves in (None, record.current), "what was on trial serves no more"
        if not before.in_progress:
            assert record.current == before.current
        board.play(replace(PASSES, asks=True))
        assert load(board.folder).state is UpdateState.CONFIRMED, (
            "every end is left by the next desired state"
        )
        assert load(board.folder).current == board.counter


@pytest.mark.parametrize("fall", ["before", "full"])
@pytest.mark.parametrize("probation", ["passes", "fails"])
def test_an_update_that_falls_over_at_any_change_is_settled_by_the_next_run(
    drawn_outcomes: list[World], probation: str, fall: str
) -> None:
    at, fell = 0, True
    while fell:
        with world() as board:
            drawn_outcomes.append(board)
            board.play(replace(PASSES, asks=True))
            fell = board.play(replace(PASSES, asks=True, probation=probation, fall=fall, at=at))
            board.holds()
            board.play(None)
            board.holds()
            record = load(board.folder)
            assert record.state in END_STATES
            assert board.serves == record.current, f"what is current serves, {fall} change {at}"
        at += 1
    assert at > 20


PASSES = Turn(asks=False, check="passes", probation="passes", returns=True, fall="", at=0)


@pytest.mark.parametrize("how", ["raises", "cut"])
@pytest.mark.parametrize("step", ["check", "probation"])
def test_what_always_breaks_off_is_given_up_after_its_attempts(
    drawn_outcomes: list[World], step: str, how: str
) -> None:
    with world() as board:
        drawn_outcomes.append(board)
        board.play(replace(PASSES, asks=True))
        board.play(replace(PASSES, asks=True, **{step: how}))
        runs = 1
        while load(board.folder).in_progress:
            board.play(replace(PASSES, **{step: how}))
            runs += 1
        record = load(board.folder)
        assert (record.code, record.attempts, record.current) == ("trial.attempts-exhausted", ATTEMPTS, 1)
        assert runs <= ATTEMPTS + 1


@pytest.mark.parametrize("way", ["it does not start", "nobody can be told", "nothing can be stopped"])
def test_each_way_into_inconsistent_says_what_to_do_and_the_next_desired_state_leads_out(
    drawn_outcomes: list[World], way: str
) -> None:
    with world() as board:
        drawn_outcomes.append(board)
        first = way != "nothing can be stopped"
        if first:
            board.play(replace(PASSES, asks=True))
        board.service.fails = way != "it does not start"
        board.play(replace(PASSES, asks=True, probation="fails", returns=way != "it does not start"))
        board.service.fails = False
        record = load(board.folder)
        assert (record.state, record.code) == (UpdateState.INCONSISTENT, "update.inconsistent")
        assert "`edge flash TARGET RELEASE`" in (record.hint or "")
        assert board.folder.linked(board.folder.current) == (1 if first else None), (
            "it is tried at each start"
        )
        board.play(replace(PASSES, asks=True))
        assert load(board.folder).state is UpdateState.CONFIRMED


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_referenced_stays_and_everything_else_goes(
    drawn_outcomes: list[World], data: st.DataObject
) -> None:
    with world() as board:
        folder = board.folder
        runtimes = [runtime_object(folder, name) for name in "abcd"]
        bundles = [f"{number:064x}" for number in range(8)]
        for digest in bundles:
            _object(folder, digest, b"{}")
        numbers = data.draw(st.lists(st.integers(1, 9), unique=True, max_size=6))
        wanted: dict[int, set[str]] = {}
        for number in numbers:
            chosen = data.draw(st.lists(st.sampled_from(bundles), unique=True, max_size=3))
            digest = data.draw(st.sampled_from(runtimes))
            models = tuple(GenerationModel(f"m{index}", "m@1", one) for index, one in enumerate(chosen))
            (folder.generation(number)).mkdir()
            (folder.generation(number) / "generation.json").write_bytes(
                encode(Generation(number, digest, models))
            )
            wanted[number] = {digest, digest[0] * 64, *chosen}
        there = st.sampled_from(numbers) if numbers else st.none()
        current, previous = data.draw(there | st.none()), data.draw(there | st.none())
        bootstrap = data.draw(st.sampled_from(runtimes) | st.none())
        if bootstrap is not None:
            folder.bootstrap.write_text(f"{bootstrap}\n")
        keep = data.draw(st.frozensets(st.sampled_from(bundles), max_size=2))
        broken = data.draw(st.sampled_from(["", "", "", "generation", "runtime"]))
        referenced = set(keep) | ({bootstrap, bootstrap[0] * 64} if bootstrap else set())
        for number in (current, previous):
            if number is not None:
                referenced |= wanted[number]
        if broken and current is not None:
            victim = folder.generation(current) / "generation.json"
            if broken == "runtime":
                victim = (
                    folder.object(next(one for one in runtimes if one in wanted[current])) / "manifest.json"
                )
            victim.write_bytes(b"{")
        before = {path.name for path in (*folder.objects.iterdir(), *folder.generations.iterdir())}
        board.turn = None
        machine = board.open()
        machine.journal.record = replace(machine.journal.record, current=current, previous=previous)
        machine.reclaim(keep=keep)
        after = {path.name for path in (*folder.objects.iterdir(), *folder.generations.iterdir())}
        if broken and current is not None:
            assert after == before, "where one reference can't be followed, nothing is known to be free"
        else:
            assert after == referenced | {str(number) for number in (current, previous) if number is not None}
