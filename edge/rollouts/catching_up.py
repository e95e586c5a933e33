"""An old copy of a fleet folder catches up with its boards: it asks them what they have seen, and goes past it.

The rule: a board is believed by its own signature, over its pinned host key, and only so far as one board's word may
lead; nothing on a board is changed. Who could not be asked is said, and is asked again by the next flash or restore.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.contract.errors import (
    BoardNotFlashed,
    EdgeError,
    PassphraseMissing,
    RepositoryBehind,
)
from agent.contract.messages import Reported
from edge.fleet.connection import connect
from edge.fleet.status import read_status
from edge.inventory import Device
from edge.progress import Progress
from edge.repository.versions import MOST_AHEAD
from edge.rollouts.belonging import refuse_foreign
from edge.rollouts.memory import Memory
from edge.rollouts.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One board, asked for what it has seen.

    Attributes:
        device: its name.
        ahead: roles of which it has seen what this folder did not sign, with the version that it saw.
        unknown: titles of what it serves and this folder does not know.
        problem: why it was not asked, or is not believed; None where all is well.
    """

    device: str
    ahead: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    problem: EdgeError | None = None


@dataclass(frozen=True, kw_only=True)
class CaughtUp:
    """What came of it.

    Attributes:
        asked: every enrolled board, by name.
        passed: roles that were behind, with the highest version that a board saw.
        timestamp: the repository's version now.
    """

    asked: tuple[Asked, ...]
    passed: Mapping[str, int]
    timestamp: int

    @property
    def complete(self) -> bool:
        """Whether every board was asked and believed."""
        return all(board.problem is None for board in self.asked)


def catch_up(workspace: Workspace, progress: Progress, *, believe: Collection[str] = ()) -> CaughtUp:
    """Ask all boards that were flashed, `pool` at once, and sign the repository anew past what they have seen.

    Args:
        workspace: the fleet folder.
        progress: told of each step.
        believe: names of boards that are believed however far they are ahead.

    Raises:
        DeviceUnknown: one of `believe` is not in the inventory.
        PassphraseMissing, PassphraseWrong: `targets` must go past something.
        FleetFolderBusy: someone else is writing.
    """
    for name in believe:
        workspace.inventory.get(name)
    devices = [device for device in workspace.inventory.list() if device.enrolled]
    with ThreadPoolExecutor(max_workers=workspace.folder.config.pool) as pool:
        asked = tuple(pool.map(lambda device: _ask(workspace, device, device.name in believe), devices))
    passed = _highest(board.ahead for board in asked)
    timestamp = workspace.versions.go_past(passed)
    believed = sum(board.problem is None for board in asked)
    progress.step(f"signed past what {believed} of {len(asked)} boards have seen: timestamp {timestamp}")
    return CaughtUp(asked=asked, passed=passed, timestamp=timestamp)


def go_past(workspace: Workspace, name: str, reported: Reported | None, progress: Progress) -> None:
    """Before one board is asked for anything: go past what it says that it has seen.

    Raises:
        RootOther, VersionsAbsurd: it can't be, or should not without a word of the user.
        RepositoryBehind: the passphrase of `targets` is needed for it, and nobody is there to give it.
    """
    trust = reported.trust if reported else ()
    workspace.versions.check(trust, device=name)
    ahead = workspace.versions.ahead(trust)
    if not ahead:
        return
    try:
        workspace.versions.go_past(ahead)
    except PassphraseMissing as error:
        roles = ", ".join(f"{role} {version}" for role, version in ahead.items())
        raise RepositoryBehind(device=name, roles=roles) from error
    progress.step(f"{name} has seen newer versions than this folder had signed; it is past them now")


def _ask(workspace: Workspace, device: Device, believed: bool) -> Asked:
    try:
        reported = _report(workspace, device)
        workspace.versions.check(reported.trust, device=device.name, most=None if believed else MOST_AHEAD)
        return Asked(
            device=device.name,
            ahead=workspace.versions.ahead(reported.trust),
            unknown=_unknown(workspace, reported),
        )
    except EdgeError as error:
        return Asked(device=device.name, problem=error)


def _report(workspace: Workspace, device: Device) -> Reported:
    if device.root is None:
        raise BoardNotFlashed(device=device.name)
    memory = Memory(workspace, device)
    with connect(device, fleet=workspace.folder) as board:
        status = read_status(board, device.root)
    refuse_foreign(workspace, device.name, status)
    reported = memory.believed(status)
    if reported is None:
        raise BoardNotFlashed(device=device.name)
    memory.keep()
    return reported


def _unknown(workspace: Workspace, reported: Reported) -> tuple[str, ...]:
    """Releases that a board serves, and that are others here or none."""
    bundles = {release.title: release.bundles.values() for release in workspace.repository.releases()}
    models = reported.current.models if reported.current else ()
    return tuple(model.release for model in models if model.bundle not in bundles.get(model.release, ()))


def _highest(seen: Iterable[Mapping[str, int]]) -> dict[str, int]:
    highest: dict[str, int] = {}
    for one in seen:
        for role, version in one.items():
            highest[role] = max(version, highest.get(role, 0))
    return highest
