"""The update itself: from a verified desired state to an end, by the table in `agent.contract.states`.

The rule: every step is saved before it is taken; an attempt is counted before it begins; `current` moves only to a
generation that passed its check and its probation; and whatever is found at the start of a run is settled first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.contract.errors import (
    AttemptsExhausted,
    EdgeError,
    Inconsistent,
    InstallFailed,
    StateDamaged,
    Superseded,
)
from agent.contract.release import DesiredState, TrialTerms
from agent.contract.states import UpdateEvent, UpdateState
from agent.update.checking import check
from agent.update.child import Interrupted
from agent.update.deadline import RECLAIM_S, SPARE_S, Within, unbounded
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder
from agent.update.golden_traffic import GoldenTraffic, traffic_of
from agent.update.objects import ObjectStore
from agent.update.pinning import pinned_objects
from agent.update.probation import LONGEST_WAIT_S, host_of, probation, serve, served_generation
from agent.update.reaching import serving_connected
from agent.update.record import CLEAR, Reason
from agent.update.report import Journal
from agent.update.service import Service
from agent.update.stage import collect_garbage

if TYPE_CHECKING:  # `recover` verifies nothing, and is not to wait for what verifying imports
    from agent.update.verify import Verified

_S, _E = UpdateState, UpdateEvent
RETURN_S = 120.0
"""From a trial that is taken back to the first healthy answer of `current`, or longer where the terms of the trial give
its start longer: then it is called inconsistent. An agent that hangs is ended first, which takes some of it."""


class Machine:
    """One board's update.

    `newer` is asked while a trial waits: whether a newer desired state has arrived. Without `waits` (before the agent
    starts) an end is saved and the agent is told, and nobody waits for it. `within` bounds a step by its seconds.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        store: ObjectStore,
        service: Service,
        newer: Callable[[], bool],
        waits: bool = True,
        within: Within = unbounded,
        files: Files = DISK,
    ) -> None:
        self.journal = journal
        self._folder: UpdateFolder = journal.folder
        self._config = journal.config
        self._store = store
        self._service = service
        self._newer = newer
        self._waits = waits
        self._within = within
        self._last_trouble = ""
        self._files = files

    # --- what a run finds --------------------------------------------------------------------------------------

    def settle_links(self) -> None:
        """Make `current` and `trial` what the record says: what was saved and not yet done is done now."""
        record = self.journal.record
        self._link_current(record.current)
        if record.state is not _S.PROBATION:
            self._files.remove(self._folder.trial)

    def settle_at_start(self) -> None:
        """Settle what a power cut or a kill left, before the agent starts: it serves `current` then, and an update
        that is in progress waits for the update process. An attempt was counted when it began."""
        record = self.journal.record
        if record.in_progress:
            exhausted = record.attempts >= self._desired.terms.max_attempts
            if exhausted and record.state in (_S.CHECKING, _S.PROBATION):
                self.give_up()
            else:
                self.journal.save(record.after(_E.INTERRUPTED))
        self._link_current(self.journal.record.current)
        self._files.remove(self._folder.trial)

    def settle_agent(self) -> None:
        """Bring the agent back to `current` where an earlier run took a trial back and ended before that was seen."""
        record = self.journal.record
        ended = record.state in (_S.ROLLED_BACK, _S.INCONSISTENT)
        if ended and served_generation(self._folder) not in (None, record.current):
            self._return_to_current()

    # --- the way through -----------------------------------------------------------------------------------------

    def accept(self, verified: Verified, *, request: str | None) -> None:
        """Begin with a desired state that is verified and staged."""
        record = self.journal.record
        self.journal.commit(
            record.after(
                _E.STAGE,
                counter=verified.desired.counter,
                digest=verified.digest,
                desired=verified.desired,
                verified=verified.versions,
                trial=verified.desired.generation.number,
                attempts=0,
                linked=False,
                checks=(),
                request=request,
                **CLEAR,
            )
        )

    def adopt(self, verified: Verified, *, request: str | None) -> None:
        """Take a desired state whose generation runs here already: its trial is on record, nothing is to be tried."""
        desired = verified.desired
        record = replace(self.journal.record, desired=desired, trial=desired.counter)
        if record.state not in (_S.CONFIRMED, _S.FINALISED):
            for event in (_E.STAGE, _E.BEGIN_CHECK, _E.CHECK_PASSED, _E.PROBATION_PASSED):
                record = record.after(event)
        changes: dict[str, Any] = {
            "counter": desired.counter,
            "digest": verified.digest,
            "attempts": 0,
            "trial": None,
            "request": request,
            **CLEAR,
        }
        self.journal.commit(replace(record, **changes))

    def run(self) -> bool:
        """Carry an update that is in progress to its end. Whether it got there: False when a newer desired state
        took its place (it is refused or rolled back then)."""
        try:
            while self.journal.record.in_progress:
                self._attempt()
        except Interrupted:
            return False
        return True

    def supersede(self, newer: int) -> None:
        """Return to `current`, because a newer desired state has arrived."""
        record = self.journal.record
        reason = Reason.of(Superseded(counter=record.counter, newer=newer))
        self._end_badly(_E.SUPERSEDED, reason, bad=False)

    def finalise(self, up_to: int, *, keep: frozenset[str] = frozenset()) -> None:
        """Let go of the generation before `current`, when the host says that it may be; no trial is in progress.

        Args:
            up_to: the highest `current` that it is said of.
            keep: objects that are to be used next.
        """
        record = self.journal.record
        if record.in_progress or record.current is None or record.current > up_to:
            return
        if record.state is _S.CONFIRMED:
            record = record.after(_E.FINALISE)
        elif record.previous is None:
            return
        self.journal.commit(replace(record, previous=None))
        generation = self.journal.generation(record.current)
        if generation is not None:
            self._files.replace(self._folder.bootstrap, f"{generation.runtime}\n".encode())
        self.reclaim(keep=keep)

    def reclaim(self, *, keep: frozenset[str] = frozenset()) -> None:
        """Take away what nothing refers to; only while no update is in progress.

        Args:
            keep: objects that are to be used next.
        """
        record = self.journal.record
        if record.in_progress:
            return
        numbers = frozenset(number for number in (record.current, record.previous) if number is not None)
        try:
            pinned = pinned_objects(self._folder, numbers)
        except StateDamaged as error:
            sys.stderr.write(f"nothing is reclaimed: {error}\n")
            return
        with self._within(RECLAIM_S):
            collect_garbage(self._folder, store=self._store, generations=numbers, pinned=pinned | keep)

    # --- steps ---------------------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        """One step. What goes wrong in it once it was counted spends the attempt. What prevents counting is raised, and
        what keeps an end that is saved from coming true: the next run settles it."""
        spent = self.journal.record.attempts
        try:
            self._step()
        except (OSError, ValueError, KeyError, EdgeError) as error:
            has_ended = isinstance(error, OSError) and not self.journal.record.in_progress
            if self.journal.record.attempts == spent or has_ended:
                raise
            self._last_trouble = f"{type(error).__name__}: {error}"
            sys.stderr.write(f"attempt {spent + 1} broke off: {self._last_trouble}\n")
            if self.journal.record.state is _S.CHECKING:
                self.journal.save(self.journal.record.after(_E.INTERRUPTED))

    def _step(self) -> None:
        record = self.journal.record
        if record.attempts >= self._desired.terms.max_attempts:
            self.give_up()
        elif record.state is _S.STAGED:
            linked = record.linked or serving_connected(self._folder, host_of(self._config))
            self.journal.commit(record.after(_E.BEGIN_CHECK, attempts=record.attempts + 1, linked=linked))
            self._check()
        elif record.state is _S.PROBATION:
            self.journal.commit(replace(record, attempts=record.attempts + 1))
            self._probation()

    def _check(self) -> None:
        desired = self._desired
        with self._within(desired.terms.check_timeout_s + SPARE_S):
            results, reason = check(
                desired,
                folder=self._folder,
                config=self._config,
                replaced={result.model: result for result in reversed(self.journal.record.current_checks)},
                new_runtime=self._new_runtime,
                interrupted=self._newer,
            )
        record = replace(self.journal.record, checks=results)
        if reason is not None:
            self.journal.record = record
            self._end_badly(_E.CHECK_FAILED, reason)
            return
        self.journal.commit(record.after(_E.CHECK_PASSED))
        self._probation()

    def _probation(self) -> None:
        desired = self._desired
        self._files.replace_link(self._folder.trial, f"generations/{desired.generation.number}")
        terms = desired.terms
        try:
            with self._within(terms.start_timeout_s + terms.probation_s + LONGEST_WAIT_S + SPARE_S):
                reason = probation(
                    desired,
                    folder=self._folder,
                    config=self._config,
                    service=self._service,
                    traffic=self._traffic(desired),
                    linked=self.journal.record.linked and self._new_runtime,
                    interrupted=self._newer,
                )
        except InstallFailed as error:
            reason = Reason.of(error)
        if reason is not None:
            self._end_badly(_E.PROBATION_FAILED, reason)
            return
        self._confirm()

    def _confirm(self) -> None:
        record = self.journal.record
        number = self._desired.generation.number
        at = self.journal.clock.now()
        confirmed = record.after(
            _E.PROBATION_PASSED,
            current=number,
            previous=record.current if record.current != number else record.previous,
            trial=None,
            since=at,
            current_verified=record.verified,
            current_checks=record.checks,
            **CLEAR,
        )
        self.journal.save(confirmed.ended(at=at, replaced=self._title(record.current)))
        self.settle_links()
        self.journal.publish()
        self.reclaim()

    def give_up(self) -> None:
        """End an update that was begun too often; nothing where none is in progress."""
        record = self.journal.record
        if not record.in_progress:
            return
        reason = Reason.of(AttemptsExhausted(generation=record.trial, attempts=record.attempts))
        if self._last_trouble:
            reason = replace(reason, message=f"{reason.message}; the last time: {self._last_trouble}")
        self._end_badly(_E.ATTEMPTS_EXHAUSTED, reason)

    def _end_badly(self, event: UpdateEvent, reason: Reason, *, bad: bool = True) -> None:
        """Save that the update ended, then return to `current`. A trial that served is taken back from the agent."""
        record = self.journal.record
        served = record.state is _S.PROBATION
        at = self.journal.clock.now()
        ended = record.after(event, trial=None, **reason.changes(at=at))
        if bad:
            ended = replace(ended, bad=record.remember_bad(reason))
        self.journal.save(ended.ended(at=at, replaced=self._title(record.current)))
        self.settle_links()
        if served:
            self._return_to_current()
        self.journal.publish()
        if bad:
            self.reclaim()

    def _return_to_current(self) -> None:
        record = self.journal.record
        if not self._waits:
            if served_generation(self._folder) not in (None, record.current):
                self._service.reload()
            return
        terms = record.desired.terms if record.desired else TrialTerms()
        timeout_s = max(terms.start_timeout_s, RETURN_S)
        try:
            with self._within(timeout_s + LONGEST_WAIT_S + SPARE_S):
                failure = self._serve_current(record.current, timeout_s=timeout_s)
        except InstallFailed as error:
            failure = str(error)
        if failure and record.state is not _S.INCONSISTENT:
            lost = Inconsistent(generation=record.counter, reason=failure)
            at = self.journal.clock.now()
            ended = self.journal.record.after(_E.ROLLBACK_FAILED, **Reason.of(lost).changes(at=at))
            self.journal.save(ended.ended(at=at, replaced=self._title(record.current)))

    def _serve_current(self, number: int | None, *, timeout_s: float) -> str:
        """Why `current` does not serve, or an empty text; where there is none, nothing is to serve."""
        if number is None:
            self._service.stop()
            return ""
        seen = serve(
            number, folder=self._folder, config=self._config, service=self._service, timeout_s=timeout_s
        )
        return seen.reason

    # --- parts ---------------------------------------------------------------------------------------------------

    @property
    def _desired(self) -> DesiredState:
        desired = self.journal.record.desired
        if desired is None:
            raise StateDamaged(path=self._folder.record, reason="an update is in progress, of nothing")
        return desired

    @property
    def _new_runtime(self) -> bool:
        current = self.journal.generation(self.journal.record.current)
        return current is None or current.runtime != self._desired.generation.runtime

    def _title(self, number: int | None) -> str | None:
        generation = self.journal.generation(number)
        return generation.title if generation else None

    def _link_current(self, number: int | None) -> None:
        if number == self._folder.linked(self._folder.current):
            return
        if number is None:
            self._files.remove(self._folder.current)
        else:
            self._files.replace_link(self._folder.current, f"generations/{number}")

    def _traffic(self, desired: DesiredState) -> list[GoldenTraffic]:
        found = []
        for model in desired.generation.models:
            try:
                manifest = self._store.manifest(model.bundle)
                found.append(traffic_of(model, self._folder.object(model.bundle), manifest))
            except (EdgeError, OSError, ValueError, KeyError, SyntaxError) as error:
                sys.stderr.write(f"no golden traffic to {model.release}: {error}\n")
        return found
