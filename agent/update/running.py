"""One run of the update process: settles what it finds, looks into the inbox, and carries updates to their end.

The rule: every way through ends in a report; a request is ended when it was answered and not before; what can't be
verified or staged changes nothing but the report.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.board import BoardConfig
from agent.contract.errors import (
    BoardDiskFull,
    EdgeError,
    ExitCode,
    KnownBad,
    ReplayRefused,
    StateDamaged,
    UpdateRunning,
    UpdateStuck,
)
from agent.contract.states import UpdateState
from agent.update.deadline import LOOK_S, STAGE_BYTES_A_S, STAGE_S, Within, unbounded
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder
from agent.update.identity import ensure_key
from agent.update.inbox import METADATA, Inbox
from agent.update.machine import Machine
from agent.update.mqtt_key import ensure_mqtt_key
from agent.update.objects import ObjectStore
from agent.update.pinning import pinned_objects
from agent.update.record import CLEAR, Reason, load, rebuilt, set_aside
from agent.update.report import Journal, last_signed_counter
from agent.update.service import Service, service_of
from agent.update.stage import Plan, plan, stage

if TYPE_CHECKING:
    from agent.update.verify import Verified, Verifier

MAX_STARTS = 10
"""How often a run that never ends by itself is begun again."""
_GOOD = (UpdateState.CONFIRMED, UpdateState.FINALISED, UpdateState.NONE)
SIGNED_GAP = 1000
"""What is left out of the counter of signed reports when the record was lost."""


@contextmanager
def update_lock(folder: UpdateFolder, files: Files) -> Iterator[None]:
    """Be the only update process of this board.

    Raises:
        UpdateRunning: another one is.
    """
    descriptor = files.open_lock(folder.lock)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UpdateRunning(pid=os.pread(descriptor, 20, 0).decode(errors="replace").strip()) from error
        files.mark_lock(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


class UpdateRun:
    """What `apply` and `recover` share. Made while the lock is held."""

    def __init__(
        self,
        folder: UpdateFolder,
        config: BoardConfig,
        *,
        waits: bool = True,
        within: Within = unbounded,
        files: Files = DISK,
        service: Service | None = None,
    ) -> None:
        self._folder = folder
        self._config = config
        self._files = files
        self._within = within
        self._inbox = Inbox(folder.inbox, files)
        self._request: str | None = None
        self._found: tuple[Verified, Verifier] | None = None
        self._refused_meanwhile: EdgeError | None = None
        ensure_key(folder, files=files)
        ensure_mqtt_key(folder, config, files=files)
        self.journal = self._open_journal()
        self.store = ObjectStore(folder, self._inbox, files)
        self.machine = Machine(
            self.journal,
            store=self.store,
            service=service or service_of(config, folder),
            newer=self._newer,
            waits=waits,
            within=within,
            files=files,
        )

    def recover(self) -> None:
        """Settle what an interrupted run left, quickly, before the agent starts."""
        self.machine.settle_at_start()
        self.journal.publish()
        self._tidy(self._folder.root, self._folder.launcher.parent, self._folder.state)
        if self._inbox.give_request_back() or self.journal.record.in_progress:
            if not self._folder.resume.exists():
                self._files.replace(self._folder.resume, b"0\n")
        else:
            self._files.remove(self._folder.resume)

    def apply(self) -> int:
        """Settle, then look into the inbox and carry out what it asks for, until it asks for nothing more.

        Returns:
            The exit code of the last thing that was asked for.
        """
        starts = self._count_start()
        self._inbox.give_request_back()
        self.machine.settle_at_start()
        self.store.tidy()
        folder = self._folder
        self._tidy(folder.root, folder.launcher.parent, folder.state, folder.generations)
        self._tidy(folder.tuf_metadata, folder.tuf_roots)
        if starts > MAX_STARTS:
            return self._give_up(starts)
        self.machine.settle_agent()
        exit_code: int = ExitCode.DONE
        first = True
        while True:
            text = self._inbox.take_request()
            if text is None and not first:
                break
            if text is not None or self._inbox.size_bytes(METADATA, "timestamp.json") is not None:
                exit_code = self._once(text)
            elif self.journal.record.in_progress:
                exit_code = self._carry_out()
            first = False
            self._inbox.end_request()
        if not self.journal.record.in_progress and self.journal.record.state is not UpdateState.NONE:
            self.journal.publish()
        self._files.remove(self._folder.resume)
        return exit_code

    def _give_up(self, starts: int) -> int:
        """Let go of what no run comes to an end of: whatever it hangs in, or dies of, would be met again."""
        self._request = self._inbox.take_request()
        stuck = UpdateStuck(starts=starts - 1)
        if self.journal.record.in_progress:
            sys.stderr.write(f"error: {stuck}\n")
            self.machine.give_up()
            self.journal.commit(replace(self.journal.record, request=self._request))
        else:
            self._refuse(stuck)
        self._inbox.end_request()
        self._files.remove(self._folder.resume)
        return stuck.exit_code

    # --- one request -----------------------------------------------------------------------------------------------

    def _once(self, text: str | None) -> int:
        self._request = text
        try:
            verified, verifier = self._look()
            if self._is_new(verified):
                return self._begin(verified, verifier)
        except EdgeError as error:
            if self.journal.record.in_progress:
                self._refused_meanwhile = error
                return self._carry_out()
            return self._refuse(error)
        if self.journal.record.in_progress:
            return self._carry_out()
        return self._nothing_to_do()

    def _look(self) -> tuple[Verified, Verifier]:
        """Verify what is in the inbox; what a signed document says of time and keys is kept at once."""
        with self._within(LOOK_S):
            return self._verify()

    def _verify(self) -> tuple[Verified, Verifier]:
        from agent.update.verify import Verifier  # not above: `recover` is not to wait for TUF's import

        verifier = Verifier(
            folder=self._folder.tuf_metadata,
            inbox=self._inbox,
            bootstrap=self._root_metadata(),
            clock=self.journal.clock,
            files=self._files,
        )
        verified = verifier.desired(fleet=self._config.fleet, device=self._config.device)
        record = self.journal.record
        clock = verified.clock
        if record.trust != verified.trust and not record.in_progress:
            record = replace(record, trust=verified.trust, counter=0 if record.trust else record.counter)
        record = replace(record, clock_floor=clock.floor, clock_root=clock.root)
        if verified.timestamp != record.contact_version:
            record = replace(record, contact=clock.now(), contact_version=verified.timestamp)
        if record != self.journal.record:
            self.journal.save(record)
        return verified, verifier

    def _is_new(self, verified: Verified) -> bool:
        """Whether a verified desired state is to be acted on.

        Raises:
            ReplayRefused: it is older than the last, or another one with the same number.
            KnownBad: it was refused before.
        """
        record, desired = self.journal.record, verified.desired
        seen = (
            record.counter if record.trust == verified.trust else 0
        )  # an update of other keys is in progress
        if desired.counter == seen and verified.digest == record.digest:
            return False
        if desired.counter <= seen:
            raise ReplayRefused(document="the desired state", found=desired.counter, seen=seen)
        bad = record.known_bad(desired)
        if bad is not None:
            raise KnownBad(bundle=desired.generation.title, counter=bad.counter, reason=bad.message)
        return True

    def _begin(self, verified: Verified, verifier: Verifier) -> int:
        """Act on a new desired state."""
        machine, desired = self.machine, verified.desired
        if self.journal.record.in_progress:
            machine.supersede(desired.counter)
            self.journal.save(replace(self.journal.record, trust=verified.trust))
        record = self.journal.record
        current = self.journal.generation(record.current)
        same = current is not None and current.same_content(desired.generation)
        if same and record.state is not UpdateState.INCONSISTENT:
            machine.finalise(desired.finalise)
            machine.adopt(verified, request=self._request)
            machine.finalise(desired.finalise)
            return ExitCode.DONE
        with self._within(LOOK_S):
            planned = plan(desired, verifier=verifier, folder=self._folder, config=self._config)
        try:
            self._stage(planned)
        except BoardDiskFull:
            # What a push saw on the board it did not send: that stays, whoever had it
            machine.finalise(desired.finalise, keep=planned.digests)
            machine.reclaim(keep=planned.digests)
            self._stage(planned)
        machine.accept(verified, request=self._request)
        return self._carry_out()

    def _stage(self, planned: Plan) -> None:
        with self._within(STAGE_S + planned.size_bytes / STAGE_BYTES_A_S):
            stage(planned, store=self.store, pinned=self._pinned(), files=self._files)

    def _carry_out(self) -> int:
        """Carry the update that is in progress to its end, or the one that takes its place."""
        if not self.machine.run():
            found, self._found = self._found, None
            if found is not None:
                try:
                    return self._begin(*found)
                except EdgeError as error:
                    return self._refuse(error)
                finally:
                    self._inbox.end_request()
        if self._refused_meanwhile is not None:
            meanwhile, self._refused_meanwhile = self._refused_meanwhile, None
            return self._refuse(meanwhile)
        good = self.journal.record.state in _GOOD
        return ExitCode.DONE if good else ExitCode.NEGATIVE_VERDICT

    def _nothing_to_do(self) -> int:
        record = self.journal.record
        if record.state in _GOOD:
            sys.stderr.write(f"desired state {record.counter} is what this board runs; nothing to do\n")
            self.journal.commit(replace(record, request=self._request, **CLEAR))
            return ExitCode.DONE
        sys.stderr.write(
            f"desired state {record.counter} was {record.state.value} before: {record.message}\n"
        )
        self.journal.commit(replace(record, request=self._request))
        return ExitCode.NEGATIVE_VERDICT

    def _refuse(self, error: EdgeError) -> int:
        """Say why what was asked for was not taken; nothing else changes."""
        sys.stderr.write(f"error: {error}\n")
        changes = Reason.of(error).changes(at=self.journal.clock.now())
        record = replace(self.journal.record, request=self._request, **changes)
        self.journal.commit(record)
        return error.exit_code

    def _newer(self) -> bool:
        """Whether a request has come in the middle of a trial, and asks for something newer."""
        if not self._inbox.has_request():
            return False
        text = self._inbox.take_request()
        try:
            verified, verifier = self._look()
            if self._is_new(verified):
                self._request = text
                self._found = (verified, verifier)
                return True
            self.journal.commit(replace(self.journal.record, request=text))
        except EdgeError as error:
            self._request, self._refused_meanwhile = text, error
        self._inbox.end_request()
        return False

    # --- parts -----------------------------------------------------------------------------------------------------

    def _open_journal(self) -> Journal:
        try:
            record = load(self._folder)
        except StateDamaged as error:
            sys.stderr.write(f"error: {error}\n")
            signed = last_signed_counter(self._folder) + SIGNED_GAP
            record = rebuilt(self._folder, error, signed=signed)
            set_aside(self._folder, files=self._files)
        return Journal(self._folder, self._config, record, files=self._files)

    def _pinned(self) -> frozenset[str]:
        record = self.journal.record
        numbers = [number for number in (record.current, record.previous) if number is not None]
        return pinned_objects(self._folder, numbers)

    def _root_metadata(self) -> bytes:
        try:
            return self._folder.tuf_root.read_bytes()
        except OSError as error:
            raise StateDamaged(path=self._folder.tuf_root, reason=str(error)) from error

    def _count_start(self) -> int:
        try:
            starts = int(self._folder.resume.read_bytes()[:20]) + 1
        except (OSError, ValueError):
            starts = 1
        self._files.replace(self._folder.resume, f"{starts}\n".encode())
        return starts

    def _tidy(self, *folders: Path) -> None:
        """Remove what interrupted writes left."""
        for folder in folders:
            self.store.tidy_folder(folder)
