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
from agent.contract.errors import (
    BoardForeign,
    BoardNotFlashed,
    FileMissing,
    ModelsApart,
    NoPrevious,
    Superseded,
)
from agent.contract.manifest import BundleManifest
from agent.contract.messages import Reported
from agent.contract.profile import DeviceProfile
from agent.contract.release import Generation, GenerationModel, Release
from agent.contract.states import END_STATES, UpdateState
from edge.config import cache_dir
from edge.fleet import services
from edge.fleet.connection import Board, connect
from edge.fleet.install import Placement
from edge.fleet.probe import probe
from edge.fleet.push import push
from edge.fleet.status import BoardStatus, read_status, wait_for_end
from edge.inventory import Device
from edge.progress import Progress
from edge.rollouts.assignment import assign, patience_s
from edge.rollouts.choice import (
    bundle_for,
    check_beside,
    check_fit,
    engine_for,
    next_generation,
    runtime_request,
)
from edge.rollouts.enrolment import InstallTerms, enrol, locate, settle_profile
from edge.rollouts.outcome import FlashOutcome
from edge.rollouts.workspace import Workspace
from edge.runtimes.compose import Composed, compose
from edge.runtimes.request import EngineWheel

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


def flash(workspace: Workspace, request: FlashRequest, progress: Progress) -> FlashOutcome:
    """Bring a board to a release, or back to the generation before.

    Returns:
        How the update ended; a refusal is an outcome, not an error.

    Raises:
        DeviceBusy: another command is at work on this board.
        EdgeError: whatever stood in the way; the board serves what it served before.
    """
    workspace.inventory.get(request.device)
    with workspace.inventory.hold(request.device):
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
            profile, placement, status = self._look(board)
            self._refuse_foreign(status)
            reported = self._believed(status) if self._is_ours(status) else None
            woken = self._wake(board, status)
            if release is None:
                return self._go_back(board, reported)
            composed, model = self._prepare(release, profile, self._beside(release, reported))
            if not self._is_enrolled(status, profile):
                reported = self._enrol(board, composed, placement, profile)
                beside = self._beside(release, reported)
                check_beside(release.title, beside, composed.manifest, profile, device=self._device.name)
            current = reported.current if reported else None
            others = None if self._request.only else current
            generation = next_generation(1, runtime=composed.digest, model=model, current=others)
            if reported is not None and current is not None and self._runs(reported, generation):
                if not (woken or status.agent_alive):
                    self._notes += ("its agent does not run: look at `edge logs`",)
                return self._nothing_to_do(reported, current)
            return self._update(board, generation, reported)

    def _go_back(self, board: Board, reported: Reported | None) -> FlashOutcome:
        if reported is None:
            raise BoardNotFlashed(device=self._device.name)
        if reported.previous is None:
            raise NoPrevious(device=self._device.name)
        now = reported.current.title if reported.current else "nothing"
        self._progress.step(f"back from {now} to {reported.previous.title}")
        return self._update(board, reported.previous, reported)

    def _look(self, board: Board) -> tuple[DeviceProfile, Placement, BoardStatus]:
        """What the board is, and what edge left on it."""
        with self._timed("probe"):
            facts = probe(board)
            profile, _ = settle_profile(self._workspace, self._device, facts)
            placement, status = locate(board, self._device, facts, user_install=self._request.user_install)
        self._device = dataclasses.replace(
            self._device, facts=facts, profile=profile.name, simulated=facts.simulated
        )
        self._progress.step(
            f"{facts.model or 'a board without a name'}, {facts.architecture}, Python {facts.python}:"
            f" profile {profile.name}"
        )
        return profile, placement, status

    def _beside(self, release: Release, reported: Reported | None) -> dict[str, BundleManifest]:
        """Release to bundle of the models that stay on the board."""
        current = reported.current if reported else None
        stay = [model for model in (current.models if current else ()) if model.name != release.name]
        if self._request.only:
            return {}
        try:
            return {model.release: self._workspace.repository.bundle(model.bundle) for model in stay}
        except FileMissing as error:
            raise ModelsApart(
                release=release.title,
                beside=", ".join(model.release for model in stay),
                device=self._device.name,
                reason="this fleet folder's repository does not hold it",
            ) from error

    def _prepare(
        self, release: Release, profile: DeviceProfile, beside: dict[str, BundleManifest]
    ) -> tuple[Composed, GenerationModel]:
        """The bundle for the board's profile, and a runtime that fits both and what stays on the board."""
        repository = self._workspace.repository
        digest = bundle_for(release, profile)
        bundle = repository.bundle(digest)
        facts = self._device.facts
        assert facts is not None
        with self._timed("runtime"):
            engine = engine_for(bundle, profile, beside=tuple(beside.values()))
            wanted = runtime_request(facts, engine, self._request.engine_wheel)
            composed = compose(wanted, cache_dir(), self._progress)
            check_fit(bundle, composed.manifest, facts, profile, device=self._device.name)
            check_beside(release.title, beside, composed.manifest, profile, device=self._device.name)
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

    def _refuse_foreign(self, status: BoardStatus) -> None:
        """Another fleet's board is left alone before anything is sent; the board itself refuses too."""
        fleet = status.config.fleet if status.config else None
        if fleet not in (None, self._workspace.folder.config.fleet) and not self._request.adopt:
            raise BoardForeign(host=self._device.name, fleet=fleet)

    def _is_ours(self, status: BoardStatus) -> bool:
        """Whether this board is the device of the inventory, as far as it can be seen from here."""
        config, device = status.config, self._device
        return (
            config is not None
            and not self._request.re_enrol
            and device.enrolled
            and config.fleet == self._workspace.folder.config.fleet
            and config.device == device.device_id
            and config.serial == (device.facts.serial if device.facts else config.serial)
        )

    def _is_enrolled(self, status: BoardStatus, profile: DeviceProfile) -> bool:
        """Whether the board is ours already, and installed as it is asked for."""
        config = status.config
        return (
            config is not None
            and self._is_ours(status)
            and status.installed
            and config.profile == profile.name
            and self._request.port in (None, config.port)
        )

    def _wake(self, board: Board, status: BoardStatus) -> bool:
        """Start what looks at pushes, where nothing on the board does after it booted. Whether that was needed."""
        config, root = status.config, self._device.root
        if (
            config is None
            or root is None
            or config.service != SERVICE_SUPERVISOR
            or status.supervised
            or not (status.installed and self._is_ours(status))
        ):
            return False
        services.wake(board, root)
        self._progress.step("edge's own supervisor did not run; it was started")
        return True

    def _enrol(
        self, board: Board, composed: Composed, placement: Placement, profile: DeviceProfile
    ) -> Reported | None:
        with self._timed("install"):
            enrolled = enrol(
                self._workspace,
                board,
                self._device,
                composed,
                placement=placement,
                profile=profile,
                terms=InstallTerms(
                    port=self._request.port,
                    adopt=self._request.adopt,
                    re_enrol=self._request.re_enrol,
                ),
                progress=self._progress,
            )
        self._device = enrolled.device
        self._remember()
        self._notes = enrolled.notes + self._twins()
        self._pushed_bytes += enrolled.sent_bytes
        return self._believed(read_status(board, enrolled.root))

    def _believed(self, status: BoardStatus) -> Reported | None:
        """The board's own word, or None where it has said nothing yet."""
        if status.signed is None or not self._device.enrolled:
            return None
        reported = status.report(self._device)
        self._device = dataclasses.replace(self._device, counter_seen=status.signed.counter)
        return reported

    def _twins(self) -> tuple[str, ...]:
        """A note where the inventory holds this board under another name too."""
        names = [
            other.name
            for other in self._workspace.inventory.list()
            if other.device_id == self._device.device_id and other.name != self._device.name
        ]
        named = ", ".join(f"`{name}`" for name in names)
        return (f"{named} is this very board: forget one of the names",) if names else ()

    def _remember(self) -> None:
        """Keep what is known of the device now; what another command saw of its counter meanwhile stays."""
        mine = self._device

        def change(there: Device) -> Device:
            same_key = there.public_key == mine.public_key
            seen = max(mine.counter_seen, there.counter_seen) if same_key else mine.counter_seen
            return dataclasses.replace(mine, counter_seen=seen)

        self._device = self._workspace.inventory.update(mine.name, change)

    def _runs(self, reported: Reported, generation: Generation) -> bool:
        """Whether the board runs that already, and was not asked for anything else that it has not looked at."""
        current = reported.current
        if current is None or not current.same_content(generation) or reported.state not in END_STATES:
            return False
        last = self._workspace.repository.desired(self._device.device_id)
        return last is None or last.counter <= reported.counter or last.generation.same_content(generation)

    def _nothing_to_do(self, reported: Reported, current: Generation) -> FlashOutcome:
        self._remember()
        self._progress.step(f"nothing to do: {self._device.name} runs {current.title} already")
        return self._outcome(reported, current, changed=False, state=UpdateState.CONFIRMED)

    def _update(self, board: Board, content: Generation, reported: Reported | None) -> FlashOutcome:
        """Sign, push, and wait for the end. `content` is what to run; its number is given here."""
        desired = assign(self._workspace, self._device.device_id, content, reported)
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
                deadline_s=patience_s(desired.terms),
                on_change=self._tell,
            )
        self._remember()
        if ended.counter == desired.counter:
            return self._outcome(ended, desired.generation, changed=True, state=ended.state)
        return self._outcome(ended, desired.generation, changed=True, state=UpdateState.REFUSED, taken=False)

    def _tell(self, reported: Reported, status: BoardStatus) -> None:
        if status.signed is not None:
            self._device = dataclasses.replace(self._device, counter_seen=status.signed.counter)
        if reported.counter > self._asked_for:
            self._remember()
            raise Superseded(counter=self._asked_for, newer=reported.counter)
        looked_at = reported.counter == self._asked_for
        if looked_at and reported.state in WORDS and reported.state is not self._told:
            self._told = reported.state
            self._progress.step(WORDS[reported.state])

    def _outcome(
        self,
        reported: Reported,
        generation: Generation,
        *,
        changed: bool,
        state: UpdateState,
        taken: bool = True,
    ) -> FlashOutcome:
        return FlashOutcome(
            device=self._device.name,
            title=generation.title,
            changed=changed,
            taken=taken,
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


def _size(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:.1f} MB" if count_bytes >= 1e5 else f"{count_bytes / 1e3:.1f} kB"
