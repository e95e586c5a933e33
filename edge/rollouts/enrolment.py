"""A bare board becomes one of the fleet: its profile, its place, its identity."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from agent.contract.board import SYSTEM_ROOT, BoardConfig
from agent.contract.errors import BoardRefused, OptionInvalid
from agent.contract.install import InstallRequest
from agent.contract.profile import BoardFacts, DeviceProfile
from edge import durable
from edge.fleet.connection import Board
from edge.fleet.install import Placement, choose_placement, send_runtime, stage
from edge.fleet.install import enrol as run_installer
from edge.fleet.status import BoardStatus, read_status
from edge.inventory import Device, new_device_id
from edge.profiles import choose
from edge.progress import Progress
from edge.rollouts.choice import check_board
from edge.rollouts.workspace import Workspace
from edge.runtimes.compose import Composed


@dataclass(frozen=True, kw_only=True)
class InstallTerms:
    """What the user said of an installation; see `FlashRequest`."""

    port: int | None = None
    adopt: bool = False
    re_enrol: bool = False
    reset_trust: bool = False


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """A board that was enrolled.

    Attributes:
        device: with its identity. root: edge's folder on the board.
        sent_bytes: what was sent. notes: what the user should know.
    """

    device: Device
    root: str
    sent_bytes: int
    notes: tuple[str, ...]


def settle_profile(workspace: Workspace, device: Device, facts: BoardFacts) -> tuple[DeviceProfile, str]:
    """The device's profile, or the one that fits best, with one sentence that says why.

    Raises:
        ProfileUnknown: the device's profile is gone.
        ProfileUndecided, BoardRefused: none fits, or the board can't be run as it.
    """
    if device.profile is None:
        return choose(facts, workspace.profiles, device=device.name)
    profile = workspace.profile(device.profile)
    check_board(profile, facts, device=device.name)
    return profile, "chosen before"


def placement_of(device: Device, facts: BoardFacts) -> Placement:
    """Where edge lives on a board, as far as the inventory knows: where it was put, or where it would be put."""
    chosen = choose_placement(facts)
    if device.root is None or device.service is None:
        return chosen
    return _placement_at(device.root, device.service, facts)


def locate(
    board: Board, device: Device, facts: BoardFacts, *, user_install: bool = False
) -> tuple[Placement, BoardStatus]:
    """Where edge lives on a board, and what it says there; where it would be put, when it is nowhere.

    A board that this folder does not know yet, or forgot, may hold an installation with root or one without.

    Raises:
        OptionInvalid: `user_install` was asked for, and it is installed with root.
    """
    chosen = choose_placement(facts, user_install=user_install)
    others = (choose_placement(facts), choose_placement(facts, user_install=True))
    roots = [*([device.root] if device.root else []), chosen.root, *(other.root for other in others)]
    status = None
    for root in dict.fromkeys(roots):
        found = read_status(board, root)
        if found.config is not None:
            if user_install and root == SYSTEM_ROOT:
                raise OptionInvalid(
                    option="--user-install",
                    reason=f"edge is in {SYSTEM_ROOT} on `{device.name}` already; take it off first:"
                    f" `edge device remove {device.name} --wipe`",
                )
            same = root == chosen.root
            return (chosen if same else _placement_at(root, found.config.service, facts)), found
        if root == chosen.root:
            status = found
    assert status is not None
    return chosen, status


def _placement_at(root: str, service: str, facts: BoardFacts) -> Placement:
    usual = choose_placement(facts, user_install=root != SYSTEM_ROOT)
    return Placement(
        root=root, service=service, sudo=usual.sudo if usual.root == root else False, note=usual.note
    )


def enrol(
    workspace: Workspace,
    board: Board,
    device: Device,
    composed: Composed,
    *,
    placement: Placement,
    profile: DeviceProfile,
    terms: InstallTerms,
    progress: Progress,
) -> Enrolled:
    """Send the runtime, install it at `placement`, and take the board's identity in.

    Raises:
        SudoRefused: root is needed and refused.
        BoardForeign, BoardCloned: the board belongs to another fleet, or carries another board's identity.
        TransferError: on the way.
    """
    facts = device.facts
    if facts is None:
        raise BoardRefused(
            device=device.name, profile=profile.name, reason="it was not probed", way_out="probe it"
        )
    request = InstallRequest(
        config=_config(workspace, device, profile, placement, facts, terms),
        runtime=composed.manifest,
        runtime_digest=composed.digest,
        root_metadata=workspace.repository.root_metadata().decode(),
        user=board.user,
        adopt=terms.adopt,
        re_enrol=terms.re_enrol,
        reset_trust=terms.reset_trust,
    )
    stage(board, placement)
    manifest = workspace.folder.cache / "runtimes" / f"{composed.digest}.json"
    durable.make_folder(manifest.parent)
    durable.write(manifest, composed.manifest_bytes)
    blobs = {**composed.blobs, composed.digest: manifest}
    sent = send_runtime(board, placement, request=request, blobs=blobs, progress=progress)
    progress.step(
        f"runtime pushed: {sent.sent_bytes / 1e6:.1f} MB in {len(sent.files)} files, {sent.seconds:.1f} s"
    )
    enrolment = run_installer(board, placement, request)
    progress.step(f"installed in {placement.root}, kept running by {_keeper(enrolment.service)}")
    same_identity = (enrolment.device, enrolment.public_key) == (device.device_id, device.public_key)
    found = dataclasses.replace(
        device,
        device_id=enrolment.device,
        profile=profile.name,
        serial=enrolment.serial,
        public_key=enrolment.public_key,
        service=enrolment.service,
        root=placement.root,
        counter_seen=device.counter_seen if same_identity else 0,
    )
    notes = (placement.note, *enrolment.notes)
    return Enrolled(
        device=found,
        root=placement.root,
        sent_bytes=sent.sent_bytes,
        notes=tuple(note for note in notes if note),
    )


def _config(
    workspace: Workspace,
    device: Device,
    profile: DeviceProfile,
    placement: Placement,
    facts: BoardFacts,
    terms: InstallTerms,
) -> BoardConfig:
    port = terms.port if terms.port is not None else workspace.folder.config.agent_port
    if facts.simulated and terms.port is None:
        port = 0
    return BoardConfig(
        fleet=workspace.folder.config.fleet,
        device=new_device_id() if terms.re_enrol else device.device_id,
        serial=facts.serial,
        profile=profile.name,
        service=placement.service,
        port=port,
        threads=profile.threads,
        memory_limit_mib=int(profile.memory_limit_mib.value),
    )


def _keeper(service: str) -> str:
    return {
        "systemd": "systemd",
        "systemd-user": "the user's systemd",
        "supervisor": "edge's own supervisor",
    }[service]
