"""What the update process remembers between its runs: `state/update.json`.

The rule: save, then act. The record says what is to be true; after a crash, whoever comes next makes it true. A
record that can't be read is put aside, said, and made anew from what is on the disk: the board keeps serving
`current`, and a new update can proceed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.contract.codec import decode, encode
from agent.contract.errors import ContractError, DocumentInvalid, EdgeError, StateDamaged, concrete_errors
from agent.contract.messages import CheckResult, HistoryEntry
from agent.contract.release import DesiredState
from agent.contract.states import END_STATES, UpdateEvent, UpdateState, advance
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder

RECORD_SCHEMA = "edge.update/1"
HISTORY_LENGTH = 20
BAD_LENGTH = 64


@dataclass(frozen=True)
class Reason:
    """Why something ended badly: an error of ours, or one that another process told by code and sentence."""

    code: str
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, error: EdgeError) -> Reason:
        """From an error."""
        return cls(error.code, str(error), error.hint)

    @classmethod
    def told(cls, code: str, message: str) -> Reason:
        """From what another process said; the hint is the class's where it needs no facts."""
        hints = (kind.hint_template for kind in concrete_errors() if kind.code == code)
        hint = next((hint for hint in hints if hint and "{" not in hint), None)
        return cls(code or "trial.crashed", message, hint)

    def changes(self, *, at: int) -> dict[str, Any]:
        """The record's fields that say so, since `at`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "code_at": at}


@dataclass(frozen=True)
class Bad:
    """A bundle that was refused under a desired state, and why."""

    counter: int
    bundle: str
    code: str
    message: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UpdateRecord:
    """The update's state. All fields together are replaced at once.

    Attributes:
        state: where the update stands. counter: of the desired state that it is about, 0 for none.
        digest: SHA-256 of that desired state's bytes. desired: the document itself.
        verified: how it was verified, in words.
        attempts: begun so far, saved before each one begins.
        linked: what served when the first of them began was connected to the collector.
        checks: what the trial measured.
        code, message, hint, code_at: why it ended badly, or why a push was refused, and since when that is so.
        current, previous: generation numbers that `current` is to lead to, and that is pinned; None for none.
        trial: generation number that is tried, None when no update is in progress.
        since: when `current` was confirmed, seconds since 1970. current_verified: how. current_checks: its trial's.
        request: text of the last request.
        clock_floor: latest time that a signed document named. clock_root: which root it came under.
        clock_seen: latest that the system clock ever showed.
        trust: which keys may sign desired states; when they change, the counter begins anew.
        contact: when a timestamp of another version than `contact_version` was looked at last, and all verified.
        signed: counter of the last signed report.
        bad: what was refused. history: how desired states ended, newest first.
    """

    state: UpdateState = UpdateState.NONE
    counter: int = 0
    digest: str = ""
    desired: DesiredState | None = None
    verified: str | None = None
    attempts: int = 0
    linked: bool = False
    checks: tuple[CheckResult, ...] = ()
    code: str | None = None
    message: str | None = None
    hint: str | None = None
    code_at: int | None = None
    current: int | None = None
    previous: int | None = None
    trial: int | None = None
    since: int | None = None
    current_verified: str | None = None
    current_checks: tuple[CheckResult, ...] = ()
    request: str | None = None
    clock_floor: int = 0
    clock_root: str = ""
    clock_seen: int = 0
    trust: str = ""
    contact: int | None = None
    contact_version: int = 0
    signed: int = 0
    bad: tuple[Bad, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    schema: str = RECORD_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != RECORD_SCHEMA:
            reason = f"`schema` is {self.schema!r}, this version reads {RECORD_SCHEMA!r}"
            raise DocumentInvalid(document="UpdateRecord", reason=reason)
        if self.state is UpdateState.UNKNOWN or (self.in_progress and (not self.desired or not self.trial)):
            raise DocumentInvalid(document="UpdateRecord", reason="its state can't be")

    @property
    def in_progress(self) -> bool:
        """Whether the update has not reached an end."""
        return self.state not in END_STATES

    def after(self, event: UpdateEvent, **changes: Any) -> UpdateRecord:
        """The record after `event`, which must be possible, with `changes` to other fields."""
        return replace(self, state=advance(self.state, event), **changes)

    def ended(self, *, at: int, replaced: str | None) -> UpdateRecord:
        """The record with its present state at the top of its history; `replaced` is the title of what ran before."""
        entry = HistoryEntry(
            counter=self.counter,
            title=self.desired.generation.title if self.desired else "",
            state=self.state,
            at=at,
            code=self.code,
            message=self.message,
            hint=self.hint,
            replaced=replaced,
            verified=self.verified,
            attempts=self.attempts,
            max_attempts=self.desired.terms.max_attempts if self.desired else 0,
            checks=self.checks,
        )
        return replace(self, history=(entry, *self.history)[:HISTORY_LENGTH])

    def known_bad(self, desired: DesiredState) -> Bad | None:
        """Why this very desired state was refused before, or None."""
        bundles = {model.bundle for model in desired.generation.models}
        for bad in self.bad:
            if bad.counter == desired.counter and (bad.bundle in bundles or not bundles):
                return bad
        return None

    def remember_bad(self, reason: Reason) -> tuple[Bad, ...]:
        """`bad` with what the present desired state names."""
        models = self.desired.generation.models if self.desired else ()
        new = tuple(
            Bad(counter=self.counter, bundle=model.bundle, code=reason.code, message=reason.message)
            for model in models
        )
        return (*new, *self.bad)[:BAD_LENGTH]


CLEAR: Mapping[str, Any] = {"code": None, "message": None, "hint": None, "code_at": None}
"""Changes for a record that has nothing bad to say."""


def load(folder: UpdateFolder) -> UpdateRecord:
    """The record; a new one on a board that never had one.

    Raises:
        StateDamaged: it can't be read, or is missing where generations are.
    """
    try:
        return decode(UpdateRecord, folder.record.read_bytes())
    except FileNotFoundError as error:
        if folder.current.is_symlink() or folder.trial.is_symlink():
            raise StateDamaged(path=folder.record, reason="it is missing") from error
        return UpdateRecord()
    except (OSError, ContractError) as error:
        raise StateDamaged(path=folder.record, reason=str(error)) from error


def save(folder: UpdateFolder, record: UpdateRecord, *, files: Files = DISK) -> None:
    """Make the record durable."""
    files.replace(folder.record, encode(record), mode=0o600)


def rebuilt(folder: UpdateFolder, error: StateDamaged, *, signed: int) -> UpdateRecord:
    """A record made from what is on the disk, when the one that was there can't be read.

    The counter is the highest that any generation on the board has: what an older one asked for is not taken again.

    Args:
        folder: the board's.
        error: why the record can't be read.
        signed: counter of the last signed report that can be found.
    """
    numbers = sorted(numbers_on_disk(folder))
    current = folder.linked(folder.current)
    earlier = [number for number in numbers if current is not None and number < current]
    tried = folder.trial.is_symlink()
    ended = UpdateState.ROLLED_BACK if tried else UpdateState.CONFIRMED if current else UpdateState.NONE
    return UpdateRecord(
        state=ended,
        counter=numbers[-1] if numbers else 0,
        current=current,
        previous=earlier[-1] if earlier else None,
        signed=signed,
        code=error.code,
        message=str(error),
        hint=error.hint,
    )


def numbers_on_disk(folder: UpdateFolder) -> list[int]:
    """Numbers of the generations that are on the board."""
    found = folder.generations.iterdir() if folder.generations.is_dir() else iter(())
    return [int(entry.name) for entry in found if entry.name.isascii() and entry.name.isdigit()]


def set_aside(folder: UpdateFolder, *, files: Files = DISK) -> None:
    """Keep a record that can't be read under another name, for whoever wants to know."""
    if folder.record.exists():
        files.rename(folder.record, folder.record.with_suffix(".damaged"))
        files.sync_folder(folder.state)
