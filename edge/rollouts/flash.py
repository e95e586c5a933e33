"""Flash: one board, from bare or old to a verified, tried, running one.

The rule: each step can be repeated. What is on the board is not sent again, what is done is not done again, and
whatever interrupts a flash, the board serves what it served before, and the next flash goes on.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.contract.board import SERVICE_SUPERVISOR
from agent.contract.errors import NoPrevious
from agent.contract.messages import Reported
from agent.contract.profile import DeviceProfile
from agent.contract.release import DesiredState, Generation, GenerationModel, Release, TrialTerms
from agent.contract.states import END_STATES, UpdateState
from edge.config import cache_dir
from edge.fleet import services
from edge.fleet.connection import Board, connect
from edge.fleet.probe import probe
from edge.fleet.push import push
from edge.fleet.status import BoardStatus, read_status, wait_for_end
from edge.progress import Progress
from edge.repository import new_nonce
from edge.rollouts.choice import bundle_for, check_fit, engine_for, next_generation, runtime_request
from edge.rollouts.enrolment import InstallTerms, enrol, placement_of, settle_profile
from edge.rollouts.workspace import Workspace
from edge.runtimes.compose import Composed, compose
from edge.runtimes.request import EngineWheel

SETTLED = (UpdateState.CONFIRMED, UpdateState.FINALISED)
WAIT_SPARE_S = 60.0
"""Granted to a board for verifying and unpacking, beyond the deadlines of its trial, for each attempt."""


WORDS = {
    UpdateState.STAGED: "verified on the board by TUF, unpacked",
    UpdateState.CHECKING: "trial: the golden set runs beside what serves",
    UpdateState.PROBATION: "trial passed; serves in probation",
    UpdateState.CONFIRMED: "confirmed",
}
"""What a flash says when an update gets there."""


@dataclass(frozen=True, kw_only=True)
class FlashRequest:
    """What is to be flashed where.

    Attributes:
        device: its name in the inventory.
        release: `digits@2`; None goes back to the generation before the current one.
        only: serve nothing beside it; else models of other names stay.
        engine_wheel: a wheel of the user's own for the inference engine.
        user_install: install without root even where sudo could be had.
        port: where the agent is to listen, set at the first flash; None takes the fleet's setting.
        adopt: take the board from another fleet.
        re_enrol: give a board with a copied identity a new one.
        password, sudo_password: for this command only; never stored.
    """

    device: str
    release: str | None
    only: bool = False
    engine_wheel: EngineWheel | None = None
    user_install: bool = False
    port: int | None = None
    adopt: bool = False
    re_enrol: bool = False
    password: str | None = None
    sudo_password: str | None = None


@dataclass(frozen=True, kw_only=True)
class FlashOutcome:
    """How it ended.

    Attributes:
        device: its name. title: what the generation is, like `digits@2`.
        changed: False when the board ran it already.
        state: how the update ended. reported: the board's signed report.
        pushed_bytes: what was sent. passed_s: seconds by step.
        notes: what the user should know of this board.
    """

    device: str
    title: str
    changed: bool
    state: UpdateState
    reported: Reported
    pushed_bytes: int = 0
    passed_s: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the board runs what was asked for."""
        return self.state in SETTLED


def flash(workspace: Workspace, request: FlashRequest, progress: Progress) -> FlashOutcome:
    """Bring a board to a release, or back to the generation before.

    Returns:
        How the update ended; a refusal is an outcome, not an error.

    Raises:
        EdgeError: whatever stood in the way; the board serves what it served before.
    """
    return _Flash(workspace, request, progress).run()


class _Flash:
    """One flash: what is known of the board so far, and what was done."""

    def __init__(self, workspace: Workspace, request: FlashRequest, progress: Progress) -> None:
        self._workspace = workspace
        self._request = request
        self._progress = progress
        self._device = workspace.inventory.get(request.device)
        self._told: UpdateState | None = None
        self._asked_for = 0
        self._passed_s: dict[str, float] = {}
        self._pushed_bytes = 0
        self._notes: tuple[str, ...] = ()

    def run(self) -> FlashOutcome:
        """All steps."""
        title = self._request.release
        release = self._workspace.repository.release(title) if title is not None else None
        with self._timed("connect"):
            board = connect(
                self._device,
                fleet=self._workspace.folder,
                password=self._request.password,
                sudo_password=self._request.sudo_password,
            )
        with board:
            profile, status = self._look(board)
            reported = self._believed(status)
            self._wake(board, status)
            if release is None:
                if reported is None or reported.previous is None:
                    raise NoPrevious(device=self._device.name)
                return self._update(board, reported.previous, reported)
            composed, model = self._prepare(release, profile)
            if not self._is_enrolled(status):
                reported = self._enrol(board, composed, profile)
            current = reported.current if reported else None
            beside = None if self._request.only else current
            generation = next_generation(1, runtime=composed.digest, model=model, current=beside)
            if reported is not None and current is not None and self._runs(reported, generation):
                return self._nothing_to_do(reported, current)
            return self._update(board, generation, reported)

    def _look(self, board: Board) -> tuple[DeviceProfile, BoardStatus]:
        """What the board is, and what edge left on it."""
        with self._timed("probe"):
            facts = probe(board)
            profile, _ = settle_profile(self._workspace, self._device, facts)
            placement = placement_of(self._device, facts, user_install=self._request.user_install)
            status = read_status(board, placement.root)
        self._device = dataclasses.replace(
            self._device, facts=facts, profile=profile.name, simulated=facts.simulated
        )
        self._progress.step(
            f"{facts.model or 'a board without a name'}, {facts.architecture}, Python {facts.python}:"
            f" profile {profile.name}"
        )
        return profile, status

    def _prepare(self, release: Release, profile: DeviceProfile) -> tuple[Composed, GenerationModel]:
        """The bundle for the board's profile, and a runtime that fits both."""
        repository = self._workspace.repository
        digest = bundle_for(release, profile)
        bundle = repository.bundle(digest)
        facts = self._device.facts
        assert facts is not None
        with self._timed("runtime"):
            wanted = runtime_request(facts, engine_for(bundle, profile), self._request.engine_wheel)
            composed = compose(wanted, cache_dir(), self._progress)
            check_fit(bundle, composed.manifest, facts, profile, device=self._device.name)
            if not repository.has_runtime(composed.digest):
                repository.add_runtime(composed.manifest_bytes, composed.blobs)
        manifest = composed.manifest
        self._progress.step(
            f"runtime {composed.digest[:12]}: {manifest.engine.value} {manifest.engine_version},"
            f" {manifest.gpu or 'CPU only'}, for {manifest.platform}; {len(manifest.layers)} layers,"
            f" {_size(manifest.size_bytes)}"
        )
        return composed, GenerationModel(
            name=release.name, release=release.title, bundle=digest, budgets=release.budgets
        )

    def _is_enrolled(self, status: BoardStatus) -> bool:
        """Whether the board is ours already, as far as it can be seen from here, and installed as it is asked for."""
        config = status.config
        if config is None or config.device != self._device.device_id or self._request.re_enrol:
            return False
        as_asked = self._request.port in (None, config.port)
        return as_asked and status.installed and self._device.enrolled

    def _wake(self, board: Board, status: BoardStatus) -> None:
        """Start what looks at pushes, where nothing on the board does after it booted."""
        config, root = status.config, self._device.root
        if (
            config is None
            or root is None
            or config.service != SERVICE_SUPERVISOR
            or status.supervised
            or not self._is_enrolled(status)
        ):
            return
        services.wake(board, root)
        self._progress.step("edge's own supervisor did not run; it was started")

    def _enrol(self, board: Board, composed: Composed, profile: DeviceProfile) -> Reported | None:
        with self._timed("install"):
            enrolled = enrol(
                self._workspace,
                board,
                self._device,
                composed,
                profile=profile,
                terms=InstallTerms(
                    user_install=self._request.user_install,
                    port=self._request.port,
                    adopt=self._request.adopt,
                    re_enrol=self._request.re_enrol,
                ),
                progress=self._progress,
            )
        self._device = enrolled.device
        self._workspace.inventory.replace(self._device)
        self._notes = enrolled.notes
        self._pushed_bytes += enrolled.sent_bytes
        return self._believed(read_status(board, enrolled.root))

    def _believed(self, status: BoardStatus) -> Reported | None:
        """The board's own word, or None where it has said nothing yet."""
        if status.signed is None or not self._device.enrolled:
            return None
        reported = status.report(self._device)
        self._device = dataclasses.replace(self._device, counter_seen=status.signed.counter)
        return reported

    def _runs(self, reported: Reported, generation: Generation) -> bool:
        current = reported.current
        return current is not None and current.same_content(generation) and reported.state in END_STATES

    def _nothing_to_do(self, reported: Reported, current: Generation) -> FlashOutcome:
        self._workspace.inventory.replace(self._device)
        self._progress.step(f"nothing to do: {self._device.name} runs {current.title} already")
        return self._outcome(reported, current, changed=False, state=UpdateState.CONFIRMED)

    def _update(self, board: Board, content: Generation, reported: Reported | None) -> FlashOutcome:
        """Sign, push, and wait for the end. `content` is what to run; its number is given here."""
        desired = self._assign(content, reported)
        self._asked_for = desired.counter
        root = self._device.root
        assert root is not None
        with self._timed("push"):
            push_set = self._workspace.repository.push_set(self._device.device_id)
            sent = push(board, root, push_set, request=desired.nonce, progress=self._progress)
        self._pushed_bytes += sent.sent_bytes
        resumed = (
            f", {_size(sent.resumed_bytes)} of it were there from a cut upload" if sent.resumed_bytes else ""
        )
        self._progress.step(
            f"{desired.generation.title} pushed: {_size(sent.sent_bytes)} in {len(sent.files)} files{resumed}"
        )
        with self._timed("trial"):
            ended = wait_for_end(
                board,
                root,
                self._device,
                request=desired.nonce,
                deadline_s=_patience_s(desired.terms),
                on_change=self._tell,
            )
        self._workspace.inventory.replace(self._device)
        return self._outcome(ended, desired.generation, changed=True, state=ended.state)

    def _assign(self, content: Generation, reported: Reported | None) -> DesiredState:
        """A new desired state, or the last one when it is the same and the board has not come to its end."""
        repository = self._workspace.repository
        seen = reported.counter if reported else 0
        last = repository.desired(self._device.device_id)
        if last is not None and last.generation.same_content(content):
            under_way = reported is not None and last.counter == seen and reported.state not in END_STATES
            if last.counter > seen or under_way:
                return last
        config = self._workspace.folder.config
        counter = repository.next_counter(self._device.device_id, seen=seen)
        desired = DesiredState(
            fleet=config.fleet,
            device=self._device.device_id,
            counter=counter,
            generation=dataclasses.replace(content, number=counter),
            nonce=new_nonce(),
            not_before=int(time.time()),
            terms=TrialTerms(
                probation_s=config.probation_s,
                check_timeout_s=config.check_timeout_s,
                start_timeout_s=config.start_timeout_s,
            ),
        )
        repository.assign(desired)
        return desired

    def _tell(self, reported: Reported, status: BoardStatus) -> None:
        if status.signed is not None:
            self._device = dataclasses.replace(self._device, counter_seen=status.signed.counter)
        looked_at = reported.counter == self._asked_for
        if looked_at and reported.state in WORDS and reported.state is not self._told:
            self._told = reported.state
            self._progress.step(WORDS[reported.state])

    def _outcome(
        self, reported: Reported, generation: Generation, *, changed: bool, state: UpdateState
    ) -> FlashOutcome:
        return FlashOutcome(
            device=self._device.name,
            title=generation.title,
            changed=changed,
            state=state,
            reported=reported,
            pushed_bytes=self._pushed_bytes,
            passed_s=self._passed_s,
            notes=self._notes,
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._passed_s[step] = self._passed_s.get(step, 0.0) + time.monotonic() - began


def _patience_s(terms: TrialTerms) -> float:
    attempt = terms.check_timeout_s + terms.start_timeout_s + terms.probation_s + WAIT_SPARE_S
    return attempt * terms.max_attempts


def _size(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:.1f} MB" if count_bytes >= 1e5 else f"{count_bytes / 1e3:.1f} kB"
