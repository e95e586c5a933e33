"""A board's folder for the update's own machine, whose steps end as it is drawn, and a file system that falls over."""

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

from hypothesis import strategies as st

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import encode
from agent.contract.errors import InferenceFailed, InstallFailed
from agent.contract.manifest import EngineName
from agent.contract.release import DesiredState, Generation, GenerationModel, TrialTerms
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from agent.update.child import Interrupted
from agent.update.deadline import Within, unbounded
from agent.update.files import Files
from agent.update.folder import UpdateFolder
from agent.update.identity import ensure_key
from agent.update.inbox import Inbox
from agent.update.machine import Machine
from agent.update.objects import ObjectStore
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
    within: Within = unbounded
    service: Nobody = field(default_factory=Nobody)

    def open(self, *, waits: bool = True) -> Machine:
        files = Falling(self.turn)
        config = BoardConfig(fleet="f", device=DEVICE, serial="1", profile="p", service=SERVICE_SUPERVISOR)
        journal = Journal(self.folder, config, load(self.folder), files=files)
        store = ObjectStore(self.folder, Inbox(self.folder.inbox), files)
        return Machine(
            journal, store=store, service=self.service, newer=lambda: False, waits=waits, within=self.within,
            files=files,
        )  # fmt: skip

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
        put_object(self.folder, bundle, b"{}")
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
    put_object(folder, layer, b"")
    manifest = RuntimeManifest(
        platform=Platform("x86_64", "3.11", "2.17"), engine=EngineName.LITERT, engine_version="2.3.0",
        agent_version="0.1.0", contracts=(1,), layers=(Layer("edge-agent", name, layer, 1, 1),),
    )  # fmt: skip
    digest = (name * 63) + "0"
    put_object(folder, digest, encode(manifest))
    return digest


def put_object(folder: UpdateFolder, digest: str, manifest: bytes) -> None:
    folder.object(digest).mkdir(exist_ok=True)
    (folder.object(digest) / "manifest.json").write_bytes(manifest)
