"""`edge device`: the fleet's boards."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any

import click

from agent.contract.errors import (
    DeviceExists,
    DeviceSame,
    ExitCode,
    HostKeyDiffers,
    HostKeyUnknown,
    OptionInvalid,
)
from edge.cli import output
from edge.cli.collect import let_go
from edge.cli.door import close, open_
from edge.cli.passphrase import asker
from edge.cli.password import ask_sudo_password, read_password, sudo_password_option

if TYPE_CHECKING:
    from edge.fleet.address import Address
    from edge.fleet.host_keys import HostKey
    from edge.fleet.opening import Shown
    from edge.inventory import Device, Inventory
    from edge.rollouts.boards import BoardState


@click.group()
def device() -> None:
    """Add, list, show, probe, refresh and remove boards; open and close them to other machines."""


device.add_command(open_)
device.add_command(close)


@device.command()
@click.argument("address")
@click.option("--name", help="What you call it. Default: from the address.")
@click.option(
    "--ask-password", is_flag=True, help="Ask for the user's password once and install the fleet's SSH key."
)
@click.option(
    "--replace-key",
    is_flag=True,
    help="Pin the host key that a known device shows now: ADDRESS is its name, or with --name where it is now.",
)
@click.option("-y", "--yes", is_flag=True, help="Trust the host key that is shown without asking.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def add(
    address: str, name: str | None, ask_password: bool, replace_key: bool, yes: bool, as_json: bool
) -> None:
    """Add the board at ADDRESS ([USER@]HOST[:PORT]) and pin its host key.

    Compare the fingerprint with the board's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
    Where your own known_hosts knows the board by another key, that is said, and --yes is not enough.
    """
    from edge.fleet.authorize import authorize
    from edge.fleet.connection import connect, first_contact
    from edge.inventory import Device, new_device_id
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    known = workspace.inventory.get(name or address) if replace_key else None
    where = _where(address, known)
    called = known.name if known else _name(name, where.host, workspace.inventory)
    shown = first_contact(where)
    key = shown.key
    output.line("note", f"{where.host} shows the host key {key.fingerprint}")
    _compare_with_known_hosts(where, shown, yes=yes)
    if known is None:
        _look_for_it(where, key, workspace.inventory)
    elif known.fingerprint == key.fingerprint:
        output.line("note", "that is the key which is pinned already")
    _confirm_key(where, key, yes=yes)
    password = read_password(f"Password on {where.host}") if ask_password else None
    pinned = dataclasses.replace(where, host_key=key.text)
    with connect(pinned, fleet=workspace.folder, password=password) as board:
        if ask_password:
            added = authorize(board, workspace.folder)
            output.line(
                "good",
                "the fleet's SSH key " + ("is installed on the board" if added else "was there already"),
            )
        found = Device(
            name=called,
            device_id=new_device_id(),
            host=where.host,
            port=board.port,
            user=board.user,
            host_key=key.text,
            fingerprint=key.fingerprint,
            added_at=int(time.time()),
        )
    if ask_password:
        with connect(pinned, fleet=workspace.folder):
            output.line("good", "the key alone opens the board")
    if known is not None:
        now = {field: getattr(found, field) for field in ("host", "port", "user", "host_key", "fingerprint")}
        found = workspace.inventory.update(called, lambda there: dataclasses.replace(there, **now))
    else:
        workspace.inventory.add(found)
    if as_json:
        output.data(found)
    output.line("good", f"`{found.name}` is {found.address}, host key pinned")


@device.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    """List the boards as this folder knows them."""
    from edge.rollouts.standing import stale_boards
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    devices = workspace.inventory.list()
    if as_json:
        output.data(devices)
        return
    stale = stale_boards(workspace)
    rows = [
        (
            d.name,
            d.address,
            d.profile or "not probed",
            "yes" if d.enrolled else "no",
            ", ".join(("simulated",) * d.simulated + ("stale: `edge device refresh`",) * (d.name in stale)),
        )
        for d in devices
    ]
    output.table(("device", "address", "profile", "flashed", ""), rows)


@device.command()
@click.argument("name")
@click.option("--profile", "chosen", help="Use this profile instead of the one that fits best.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def probe(name: str, chosen: str | None, as_json: bool) -> None:
    """Ask a board what it is, and choose its profile."""
    from edge.rollouts.boards import probe_device
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    found = probe_device(workspace, name, profile=chosen)
    if as_json:
        output.data({"device": name, "profile": found.profile.name, "why": found.why, "facts": found.facts})
        return
    facts = found.facts
    gpu = ", ".join(
        f"{label} {value}"
        for label, value in (("JetPack", facts.jetpack), ("CUDA", facts.cuda), ("TensorRT", facts.tensorrt))
        if value
    )
    rows = [
        ("board", facts.model or "unnamed"),
        ("system", f"{facts.os}, kernel {facts.kernel}"),
        (
            "processor",
            f"{facts.architecture}, {facts.userland_bits}-bit, {facts.cores} cores,"
            f" pages of {facts.page_size_bytes} bytes",
        ),
        (
            "memory",
            f"{facts.memory_bytes // 2**20} MiB; limits are "
            f"{'enforced' if facts.memory_cgroup else 'not enforced by this kernel'}",
        ),
        ("disk", f"{output.size(facts.disk_free_bytes)} free"),
        ("Python", f"{facts.python or 'none'}, glibc {facts.glibc or 'none'}"),
        ("services", f"{'systemd' if facts.systemd else 'no systemd'}, sudo: {facts.sudo}"),
        ("NVIDIA", gpu or "none"),
        ("serial", facts.serial),
        ("profile", f"{found.profile.name}: {found.why}"),
    ]
    output.facts(rows)
    if facts.simulated:
        output.line("note", "this is a simulated board: its speed says nothing of any real one")


@device.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(name: str, as_json: bool) -> int:
    """Show what runs on a board, since when, verified how; what was before; what was refused and why.

    A board that can't be reached is shown as it was heard of last; the exit code is 4 then.
    """
    from edge.cli.report import show_report
    from edge.rollouts.boards import state_or_last_known
    from edge.rollouts.trusted import standing
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    state = state_or_last_known(workspace, name)
    found = workspace.inventory.get(name)
    trust = state.reported.trust if state.reported else ()
    beside = standing(workspace, found.device_id, trust)
    if as_json:
        output.data(
            {
                "device": found,
                "reported": state.reported,
                "agent": state.agent,
                "stale": state.reported.stale(int(time.time())) if state.reported else None,
                "folder": beside,
                "last_known": _last_known(state),
            }
        )
    else:
        show_report(found, state, beside)
    return ExitCode.INCOMPLETE if state.unreached else ExitCode.DONE


@device.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def history(name: str, as_json: bool) -> int:
    """Show how each update that a board remembers ended: from what to what, why, and the numbers of its trial."""
    from edge.cli.report import show_history
    from edge.rollouts.boards import state_or_last_known
    from edge.rollouts.workspace import Workspace

    state = state_or_last_known(Workspace.find(asker()), name)
    if as_json:
        ends = state.reported.history if state.reported else ()
        output.data({"device": name, "history": ends, "last_known": _last_known(state)})
    else:
        show_history(state)
    if state.unreached:
        output.line("doubt", f"the last known: {state.unreached}")
    return ExitCode.INCOMPLETE if state.unreached else ExitCode.DONE


@device.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="All boards that were flashed.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def refresh(names: tuple[str, ...], everyone: bool, as_json: bool) -> int:
    """Show boards what is newly signed, so that they are not stale. What they run is not touched.

    The exit code is 4 when a board was not reached, or has an update that waits.
    """
    from edge.rollouts.refresh import refresh as show_them
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    if everyone == bool(names):
        raise OptionInvalid(option="NAME", reason="name the boards, or say --all")
    chosen = names or tuple(one.name for one in workspace.inventory.list() if one.enrolled)
    found = show_them(workspace, chosen)
    if as_json:
        output.data(
            [
                {
                    "device": one.device,
                    "reported": one.reported,
                    "error": one.problem.to_plain() if one.problem else None,
                }
                for one in found
            ]
        )
    for one in found:
        if one.problem is not None:
            output.line("doubt", f"{one.device}: {one.problem} [{one.problem.code}]")
            output.hint(one.problem.hint)
        elif one.reported is not None:
            output.line(
                "good", f"{one.device} was shown what is newly signed, {output.ago(one.reported.contact)}"
            )
    codes = {one.problem.exit_code for one in found if one.problem is not None}
    worse = codes - {ExitCode.INCOMPLETE}
    return max(worse) if worse else ExitCode.INCOMPLETE if codes else ExitCode.DONE


@device.command()
@click.argument("name")
@click.option(
    "--wipe", is_flag=True, help="Stop the agent and remove everything of edge from the board first."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@sudo_password_option
def remove(name: str, wipe: bool, yes: bool, as_json: bool, sudo_password: bool) -> int:
    """Forget a board; with --wipe, take edge off it."""
    from edge.rollouts.boards import remove_device
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    found = workspace.inventory.get(name)
    what = f"Remove everything of edge from {found.address} and forget" if wipe else "Forget"
    answer = output.confirm(f"{what} `{name}`?", yes=yes)
    if answer is None:
        raise OptionInvalid(option="--yes", reason="without a terminal, say --yes to remove a board")
    if not answer:
        output.line("note", "nothing was changed")
        return ExitCode.FAILED
    remove_device(
        workspace, name, wipe=wipe, sudo_password=ask_sudo_password(name) if sudo_password else None
    )
    let_go(workspace.folder, name)
    if as_json:
        output.data({"device": name, "address": found.address, "wiped": wipe})
    left = "; what runs on the board goes on there" if found.enrolled else ""
    output.line(
        "good", f"`{name}` is forgotten" + ("; nothing of edge is left on the board" if wipe else left)
    )
    return ExitCode.DONE


def _last_known(state: BoardState) -> dict[str, Any] | None:
    if state.unreached is None:
        return None
    return {"heard_at": state.heard_at, "error": state.unreached.to_plain()}


def _where(address: str, known: Device | None) -> Address:
    """The address that was named, or that of the device which was named in its place."""
    from edge.fleet.address import Address

    if known is not None and address == known.name:
        return Address(host=known.host, user=known.user, port=known.port)
    return Address.parse(address)


def _look_for_it(where: Address, key: HostKey, inventory: Inventory) -> None:
    """Say what the inventory knows of this host key and this address; a board is not added twice."""
    for other in inventory.list():
        same_place = (other.host, other.port) == (where.host, where.port or 22)
        if other.fingerprint == key.fingerprint and same_place and where.user in (None, other.user):
            raise DeviceSame(device=other.name, address=other.address)
        if other.fingerprint == key.fingerprint:
            output.line(
                "doubt",
                f"`{other.name}` ({other.address}) has the same host key: the same board, or a copied card",
            )
        elif same_place:
            output.line(
                "doubt",
                f"`{other.name}` is at this address with another host key; where it is the same board with a new"
                f" system: edge device add {other.name} --replace-key",
            )


def _compare_with_known_hosts(where: Address, shown: Shown, *, yes: bool) -> None:
    """Say what the user's own known_hosts knows of the board. A person may overrule it, a script may not.

    Raises:
        HostKeyDiffers: it knows another key, and nobody is asked.
    """
    if shown.key in shown.known:
        output.line("good", "your own known_hosts knows it by the same key")
    elif shown.known:
        known = ", ".join(key.fingerprint for key in shown.known)
        differs = HostKeyDiffers(host=where.host, shown=shown.key.fingerprint, known=known, entry=shown.entry)
        if yes:
            raise differs
        output.line("doubt", f"{differs}: {differs.hint}")


def _confirm_key(where: Address, key: HostKey, *, yes: bool) -> None:
    """Have a person say that the key is the board's own.

    Raises:
        OptionInvalid: nobody can be asked. HostKeyUnknown: it is not.
    """
    answer = output.confirm("Is that the board's own, and shall it be pinned?", yes=yes)
    if answer is None:
        reason = f"without a terminal, say --yes to trust the key {key.fingerprint}"
        raise OptionInvalid(option="--yes", reason=reason)
    if not answer:
        raise HostKeyUnknown(host=where.host, fingerprint=key.fingerprint)


def _name(wanted: str | None, host: str, inventory: Inventory) -> str:
    from agent.contract.names import check_name

    taken = inventory.names()
    if wanted:
        if check_name(wanted, what="device") in taken:
            raise DeviceExists(device=wanted, address=inventory.get(wanted).address)
        return wanted
    base = re.sub(r"[^a-z0-9]+", "-", host.lower().removesuffix(".local")).strip("-") or "board"
    names = (base, *(f"{base}-{number}" for number in range(2, 1000)))
    return next(name for name in names if name not in taken)
