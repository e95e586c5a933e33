"""Flash: one board, from bare or old to a verified, tried, running one.

The rule: each step can be repeated. What is on the board is not sent again, what is done is not done again, and
whatever interrupts a flash, the board serves what it served before, and the next flash goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from agent.contract.errors import BoardNotFlashed, NoPrevious
from agent.contract.manifest import BundleManifest
from agent.contract.messages import Reported
from agent.contract.profile import DeviceProfile
from agent.contract.release import Generation, ModelRole, Release
from agent.contract.states import UpdateState
from edge.fleet.connection import Board, connect
from edge.fleet.install import Placement
from edge.fleet.probe import probe
from edge.fleet.status import BoardStatus, read_status
from edge.inventory import Device
from edge.progress import Progress
from edge.rollouts.assignment import runs_already
from edge.rollouts.belonging import is_ours, refuse_foreign, wake
from edge.rollouts.choice import check_beside, check_role, next_generation
from edge.rollouts.enrolment import InstallTerms, enrol, locate, settle_profile
from edge.rollouts.memory import Memory
from edge.rollouts.outcome import FlashOutcome
from edge.rollouts.preparation import Prepared, held_part, models_beside, prepare
from edge.rollouts.update import carry_out, size
from edge.rollouts.workspace import Workspace
from edge.runtimes.compose import Composed
from edge.runtimes.request import EngineWheel


@dataclass(frozen=True, kw_only=True)
class FlashRequest:
    """What is to be flashed where.

    Attributes:
        device: its name in the inventory.
        release: `digits@2`; None goes back to the generation before the current one.
        role, share: how it takes part: a challenger answers `share` percent of the requests to its name.
        only: serve nothing beside it; else models of other names stay.
        engine_wheel: a wheel of the user's own for the inference engine.
        user_install: install without root even where sudo could be had.
        port: where the agent is to listen, set at the first flash; None takes the fleet's setting.
        adopt: take the board from another fleet.
        re_enrol: give a board with a copied identity a new one.
        reset_trust: have the board trust this folder's keys, whatever it trusted; what it runs goes on meanwhile.
        password, sudo_password: for this command only; never stored.
    """

    device: str
    release: str | None
    role: ModelRole = ModelRole.PRIMARY
    share: int = 100
    only: bool = False
    engine_wheel: EngineWheel | None = None
    user_install: bool = False
    port: int | None = None
    adopt: bool = False
    re_enrol: bool = False
    reset_trust: bool = False
    password: str | None = None
    sudo_password: str | None = None


def flash(workspace: Workspace, request: FlashRequest, progress: Progress) -> FlashOutcome:
    """Bring a board to a release, or back to the generation before.

    Args:
        workspace: the fleet folder.
        request: what is to be flashed where.
        progress: is told of each step.

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
        self._memory = Memory(workspace, workspace.inventory.get(request.device))
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
            if not (self._request.adopt or self._request.reset_trust):
                refuse_foreign(self._workspace, self._name, status)
            reported = self._memory.believed(status) if self._is_ours(status) else None
            woken = self._wake(board, status)
            if release is None:
                return self._go_back(board, reported)
            serving = reported.current if reported else None
            check_role(release.title, self._request.role, serving, device=self._name)
            prepared = self._prepare(release, profile, self._beside(release, reported))
            composed = prepared.composed
            model = replace(prepared.model, role=self._request.role, share=self._request.share)
            if not self._is_enrolled(status, profile):
                reported = self._enrol(board, composed, placement, profile)
                beside = self._beside(release, reported)
                check_beside(release.title, beside, composed.manifest, profile, device=self._name)
            current = reported.current if reported else None
            others = self._staying(current)
            generation = next_generation(1, runtime=composed.digest, model=model, current=others)
            if (
                reported is not None
                and current is not None
                and not self._request.reset_trust
                and runs_already(self._workspace, self._device.device_id, reported, generation)
            ):
                if not (woken or status.agent_alive):
                    self._notes += ("its agent does not run: look at `edge logs`",)
                return self._nothing_to_do(reported, current)
            return self._update(board, generation, reported)

    @property
    def _device(self) -> Device:
        return self._memory.device

    @property
    def _name(self) -> str:
        return self._memory.device.name

    def _go_back(self, board: Board, reported: Reported | None) -> FlashOutcome:
        if reported is None:
            raise BoardNotFlashed(device=self._name)
        if reported.previous is None:
            raise NoPrevious(device=self._name)
        now = reported.current.title if reported.current else "nothing"
        self._progress.step(f"back from {now} to {reported.previous.title}")
        return self._update(board, reported.previous, reported)

    def _look(self, board: Board) -> tuple[DeviceProfile, Placement, BoardStatus]:
        """What the board is, and what edge left on it."""
        with self._timed("probe"):
            facts = probe(board)
            profile, _ = settle_profile(self._workspace, self._device, facts)
            placement, status = locate(board, self._device, facts, user_install=self._request.user_install)
        self._memory.learn(facts=facts, profile=profile.name, simulated=facts.simulated)
        self._progress.step(
            f"{facts.model or 'a board without a name'}, {facts.architecture}, Python {facts.python}:"
            f" profile {profile.name}"
        )
        return profile, placement, status

    def _beside(self, release: Release, reported: Reported | None) -> dict[str, BundleManifest]:
        """Release to bundle of the models that stay on the board."""
        staying = self._staying(reported.current if reported else None)
        return models_beside(self._workspace, release, staying, device=self._name, role=self._request.role)

    def _staying(self, current: Generation | None) -> Generation | None:
        """What of `current` stays; what another folder published goes when the board's trust is reset."""
        if self._request.only or current is None:
            return None
        return held_part(self._workspace, current) if self._request.reset_trust else current

    def _prepare(
        self, release: Release, profile: DeviceProfile, beside: dict[str, BundleManifest]
    ) -> Prepared:
        facts = self._device.facts
        assert facts is not None, "it was probed"
        with self._timed("runtime"):
            prepared = prepare(
                self._workspace,
                release,
                profile,
                facts,
                beside,
                device=self._name,
                engine_wheel=self._request.engine_wheel,
                progress=self._progress,
            )
        manifest = prepared.composed.manifest
        self._progress.step(
            f"runtime {prepared.composed.digest[:12]}: {manifest.engine.value} {manifest.engine_version},"
            f" {manifest.gpu or 'CPU only'}, for {manifest.platform}; {len(manifest.layers)} layers,"
            f" {size(manifest.size_bytes)}"
        )
        return prepared

    def _is_ours(self, status: BoardStatus) -> bool:
        """Whether this board is the device of the inventory, and is to stay it."""
        fleet = self._workspace.folder.config.fleet
        anew = self._request.re_enrol or self._request.reset_trust
        return not anew and is_ours(status, self._device, fleet=fleet)

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
        """Have somebody there who looks at pushes. Whether that was needed."""
        if not (self._is_ours(status) and wake(board, self._device, status)):
            return False
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
                    reset_trust=self._request.reset_trust,
                ),
                progress=self._progress,
            )
        self._memory.device = enrolled.device
        self._memory.keep()
        self._notes = enrolled.notes + self._twins()
        self._pushed_bytes += enrolled.sent_bytes
        return self._memory.believed(read_status(board, enrolled.root))

    def _twins(self) -> tuple[str, ...]:
        """A note where the inventory holds this board under another name too."""
        names = [
            other.name
            for other in self._workspace.inventory.list()
            if other.device_id == self._device.device_id and other.name != self._name
        ]
        named = ", ".join(f"`{name}`" for name in names)
        return (f"{named} is this very board: forget one of the names",) if names else ()

    def _nothing_to_do(self, reported: Reported, current: Generation) -> FlashOutcome:
        self._memory.keep()
        self._progress.step(f"nothing to do: {self._name} runs {current.title} already")
        return self._outcome(reported, current, changed=False, state=UpdateState.CONFIRMED)

    def _update(self, board: Board, content: Generation, reported: Reported | None) -> FlashOutcome:
        """Ask for `content` and wait for the end."""
        ended = carry_out(self._workspace, board, self._memory, content, reported, progress=self._progress)
        self._pushed_bytes += ended.sent_bytes
        self._passed_s |= {"push": ended.push_s, "trial": ended.trial_s}
        return self._outcome(
            ended.reported, ended.desired.generation, changed=True, state=ended.state, taken=ended.taken
        )

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
            device=self._name,
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
