"""Questions to one board of the fleet, and its removal. Each opens the connection, asks, and closes it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.contract.board import RunningAgent
from agent.contract.errors import (
    AgentSilent,
    BoardForeign,
    BoardNotFlashed,
    ConnectionLost,
    DeadlinePassed,
    EdgeError,
    HostUnknown,
    HostUnreachable,
    RootOther,
    StoreMissing,
)
from agent.contract.messages import STALE_AFTER_S, Reported
from agent.contract.profile import BoardFacts, DeviceProfile
from edge.fleet import services
from edge.fleet.checkup import Check, checkup
from edge.fleet.connection import Board, connect
from edge.fleet.forward import Forward
from edge.fleet.probe import probe
from edge.fleet.status import BoardStatus, read_status
from edge.inventory import Device
from edge.rollouts.choice import check_board
from edge.rollouts.enrolment import locate, placement_of, settle_profile
from edge.rollouts.memory import Memory
from edge.rollouts.workspace import Workspace
from edge.telemetry import query
from edge.telemetry.store import Store


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A board's facts, the profile that it gets, and why."""

    facts: BoardFacts
    profile: DeviceProfile
    why: str


@dataclass(frozen=True, kw_only=True)
class BoardState:
    """A board's verified report and what its agent says of itself; None where there is none.

    Attributes:
        reported: signed by the board.
        agent: of its folder. alive: the agent's process runs.
        unreached: why the board could not be asked; then the report is the last that the store has. heard_at: when
            anything was heard of the board last, seconds since 1970; None where nothing was, or it was asked now.
    """

    reported: Reported | None
    agent: RunningAgent | None
    alive: bool
    unreached: EdgeError | None = None
    heard_at: int | None = None


def probe_device(workspace: Workspace, name: str, *, profile: str | None = None) -> Probed:
    """Ask a board what it is; settle its profile and keep both in the inventory.

    Raises:
        DeviceBusy: another command is at work on it.
        BoardRefused, ProfileUnknown, ProfileUndecided: no profile fits, or not the one that was named.
        TransferError: it can't be asked.
    """
    device = workspace.inventory.get(name)
    wanted = workspace.profile(profile) if profile is not None else None
    with workspace.inventory.hold(name):
        with connect(device, fleet=workspace.folder) as board:
            facts = probe(board)
        if wanted is not None:
            chosen, why = wanted, "you chose it"
            check_board(chosen, facts, device=name)
        else:
            chosen, why = settle_profile(workspace, dataclasses.replace(device, profile=None), facts)

        def change(there: Device) -> Device:
            return dataclasses.replace(
                there,
                facts=facts,
                profile=chosen.name,
                serial=there.serial or facts.serial,
                simulated=facts.simulated,
            )

        workspace.inventory.update(name, change)
    return Probed(facts=facts, profile=chosen, why=why)


def board_state(workspace: Workspace, name: str) -> BoardState:
    """Read a board's report and verify whose word it is.

    Raises:
        ReportForged, ReportReplayed: it is not believed.
        TransferError: it can't be asked.
    """
    device = workspace.inventory.get(name)
    if device.root is None:
        return BoardState(reported=None, agent=None, alive=False)
    with connect(device, fleet=workspace.folder) as board:
        status = read_status(board, device.root)
    if status.signed is None or not device.enrolled:
        return BoardState(reported=None, agent=status.agent, alive=status.agent_alive)
    reported = status.report(device)
    seen = status.signed.counter

    def change(there: Device) -> Device:
        newer = there.public_key == device.public_key and there.counter_seen < seen
        return dataclasses.replace(there, counter_seen=seen) if newer else there

    workspace.inventory.update(name, change)
    return BoardState(reported=reported, agent=status.agent, alive=status.agent_alive)


def state_or_last_known(workspace: Workspace, name: str) -> BoardState:
    """A board's own word of now, or where it can't be reached, the last that the telemetry store has.

    Raises:
        HostUnreachable, ConnectionLost, DeadlinePassed, HostUnknown: and nothing of it was ever heard.
        ReportForged, ReportReplayed, TransferError: as `board_state`.
    """
    try:
        return board_state(workspace, name)
    except (HostUnknown, HostUnreachable, ConnectionLost, DeadlinePassed) as error:
        device_id = workspace.inventory.get(name).device_id
        try:
            with Store.open(workspace.folder.store) as store:
                (known,) = query.fleet_now(store, devices=[device_id])
        except StoreMissing:
            raise error from None
        if known.reported is None:
            raise
        heard = int(known.last_seen) if known.last_seen is not None else None
        return BoardState(reported=known.reported, agent=None, alive=False, unreached=error, heard_at=heard)


@contextmanager
def agent_port(workspace: Workspace, name: str, *, local_port: int = 0) -> Iterator[tuple[Forward, Board]]:
    """The board's agent on a port of this machine, for as long as the context lasts.

    Raises:
        BoardNotFlashed: it has no agent.
        AgentSilent: the agent does not run.
        PortTaken: `local_port` is in use.
        TransferError: on the way.
    """
    device = workspace.inventory.get(name)
    if device.root is None:
        raise BoardNotFlashed(device=name)
    with connect(device, fleet=workspace.folder) as board:
        status = read_status(board, device.root)
        if status.agent is None or not status.agent_alive:
            error = status.agent.error if status.agent else None
            raise AgentSilent(device=name, reason=str(error.get("message")) if error else "it does not run")
        with board.forward(status.agent.port, local_port=local_port) as forward:
            yield forward, board


@contextmanager
def launcher(workspace: Workspace, name: str) -> Iterator[tuple[Board, list[str]]]:
    """A connection to a flashed board, and the beginning of each call of its agent's command line."""
    device = workspace.inventory.get(name)
    if device.root is None:
        raise BoardNotFlashed(device=name)
    with connect(device, fleet=workspace.folder) as board:
        yield board, ["python3", "-I", f"{device.root}/bin/launch.py"]


def read_logs(
    workspace: Workspace,
    name: str,
    *,
    lines: int,
    follow: bool,
    sudo_password: str | None,
    on_line: Callable[[str], None],
) -> None:
    """Give the last lines of a board's logs; see `edge.fleet.services.logs`."""
    device = workspace.inventory.get(name)
    if device.facts is None or device.root is None:
        raise BoardNotFlashed(device=name)
    with connect(device, fleet=workspace.folder, sudo_password=sudo_password) as board:
        placement = placement_of(device, device.facts)
        services.logs(board, placement, lines=lines, follow=follow, on_line=on_line)


def check_device(workspace: Workspace, name: str) -> tuple[Check, ...]:
    """Everything that a board needs, looked at one by one."""
    device = workspace.inventory.get(name)
    with connect(device, fleet=workspace.folder) as board:
        facts = probe(board)
        _, status = locate(board, device, facts)
        profile = workspace.profile(device.profile) if device.profile else None
        whose = _belonging(workspace, device, status) or _trust(workspace, device, status)
        return (*whose, *checkup(board, facts, status, profile=profile))


def _belonging(workspace: Workspace, device: Device, status: BoardStatus) -> tuple[Check, ...]:
    """Whose board it is, where it is not the one that this folder knows."""
    config, fleet = status.config, workspace.folder.config.fleet
    if config is None:
        return ()
    if config.fleet == fleet and status.root and not workspace.versions.knows_root(status.root):
        error = RootOther(device=device.name, reason="its root of trust is not in this folder's repository")
        return (Check(name="trust", verdict="bad", text=str(error), hint=error.hint or ""),)
    if config.fleet == fleet and config.device == device.device_id:
        return ()
    if config.fleet != fleet:
        text, hint = (
            f"it belongs to the fleet `{config.fleet}`",
            "take it into this one with `edge flash --adopt`",
        )
        return (Check(name="fleet", verdict="bad", text=text, hint=hint),)
    text = f"it is of this fleet, but this folder does not know it as `{config.device}`"
    return (Check(name="fleet", verdict="doubt", text=text, hint="flash it again: that takes it in"),)


def _trust(workspace: Workspace, device: Device, status: BoardStatus) -> tuple[Check, ...]:
    """How what a board of ours verified stands beside this folder, and whether it was shown anything lately."""
    try:
        reported = Memory(workspace, device).believed(status)
        if reported is None:
            return ()
        workspace.versions.check(reported.trust, device=device.name)
        unseen = workspace.versions.ahead(reported.trust)
    except EdgeError as error:
        return (Check(name="trust", verdict="bad", text=str(error), hint=error.hint or ""),)
    if unseen:
        roles = ", ".join(f"{role} {version}" for role, version in unseen.items())
        text = (
            f"it has seen {roles}, which this folder did not sign: this is an old copy, or another is at work"
        )
        hint = "take the newest folder, or go past it with `edge key restore`"
        return (Check(name="trust", verdict="doubt", text=text, hint=hint),)
    if reported.stale(int(time.time())):
        days = STALE_AFTER_S // 86_400
        return (
            Check(
                name="trust",
                verdict="doubt",
                text=f"it is stale: for {days} days it was shown nothing newly signed",
                hint=f"run `edge device refresh {device.name}`",
            ),
        )
    return (Check(name="trust", verdict="good", text="it has seen nothing that this folder did not sign"),)


def remove_device(workspace: Workspace, name: str, *, wipe: bool, sudo_password: str | None = None) -> None:
    """Forget a board; with `wipe` everything of edge is taken off it first.

    Raises:
        DeviceBusy: another command is at work on it.
        BoardForeign: what is on it is another fleet's.
        InstallFailed: something is left on the board, which is then not forgotten.
        SudoRefused: root is needed and refused.
        TransferError: it can't be reached.
    """
    device = workspace.inventory.get(name)
    with workspace.inventory.hold(name):
        if wipe:
            with connect(device, fleet=workspace.folder, sudo_password=sudo_password) as board:
                placement, status = locate(board, device, probe(board))
                if status.config is not None and status.config.fleet != workspace.folder.config.fleet:
                    raise BoardForeign(host=name, fleet=status.config.fleet)
                services.remove(board, placement, wipe=True)
        workspace.inventory.remove(name)
