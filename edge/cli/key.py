"""`edge key`: the fleet's keys: who holds them, how many must sign, and when they are replaced.

The rule: a private half is never printed, and nothing is removed that something could still need.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.contract.errors import ExitCode, KeyUnreadable, OptionInvalid
from edge.cli import output
from edge.cli.expiry import days_left, renewed_by
from edge.cli.key_backup import backup, restore
from edge.cli.passphrase import asker

if TYPE_CHECKING:
    from edge.config import FleetFolder
    from edge.identity import HeldKey
    from edge.repository import RoleState, Trust
    from edge.rollouts.workspace import Workspace

ROLES = ("root", "targets", "desired", "snapshot", "timestamp")
SSH = "ssh"
role_argument = click.argument("role", type=click.Choice(ROLES))
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def key() -> None:
    """Look after the fleet's keys: list, rotate, add, revoke, renew."""


@key.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys of every role, where they lie, how many must sign, and when their signature ends."""
    workspace = _workspace()
    states = _trust(workspace).states()
    if as_json:
        output.data([_plain(state) for state in states])
        return
    rows = [row for state in states for row in _rows(state, workspace.folder)]
    output.table(("role", "key", "private half", "must sign", "good until"), rows)
    for state in states:
        if state.due:
            output.line(
                "doubt", f"{state.keys.role}: less than half of its time is left: run `{_renewal(state)}`"
            )


@key.command()
@click.argument("roles", nargs=-1, required=True, type=click.Choice((*ROLES, SSH)))
@click.option(
    "--key",
    "keyids",
    multiple=True,
    metavar="ID",
    help="Only this key of a role that has several. Repeatable.",
)
@json_option
def rotate(roles: tuple[str, ...], keyids: tuple[str, ...], as_json: bool) -> int:
    """Replace the keys of ROLES by new ones, all in one change; boards follow with their next update.

    Replaced are the keys whose private halves are here, each where it lies, or those that are lost where none is. The
    passphrases of root's keys are asked for (targets' for desired), then one for the new keys.

    `ssh`, by itself, is the key that opens the boards: each is given the new one, opened with it, and loses the old
    one. Exit code 4: some boards could not be reached; the same command goes on with them.
    """
    workspace = _workspace()
    if SSH in roles:
        if len(roles) > 1 or keyids:
            raise OptionInvalid(
                option=SSH, reason="it is replaced by itself, on the boards: `edge key rotate ssh`"
            )
        return _rotate_ssh(workspace, as_json=as_json)
    _trust(workspace).rotate(*dict.fromkeys(roles), keyids=keyids)
    _done(workspace, roles, f"new keys for {', '.join(dict.fromkeys(roles))}", as_json=as_json)
    output.hint("boards learn of it with their next update; make a new backup: edge key backup FILE")
    return ExitCode.DONE


@key.command()
@role_argument
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where its private half is written: a stick, another person's folder.",
)  # fmt: skip
@json_option
def add(role: str, folder: Path | None, as_json: bool) -> None:
    """Make a further key for ROLE. The number of keys that must sign stays as it is."""
    workspace = _workspace()
    place = folder.resolve() if folder else None
    made = _trust(workspace).add(role, place)
    _done(workspace, (role,), f"`{role}` has a further key, {made[:8]}", as_json=as_json)
    if place is not None and place not in [each.resolve() for each in workspace.folder.key_folders]:
        output.hint(f"so that it is found there: in edge.toml, [keys] folders = [{str(place)!r}]")


@key.command()
@role_argument
@click.argument("count", type=click.IntRange(1, 100))
@json_option
def threshold(role: str, count: int, as_json: bool) -> None:
    """Say that COUNT keys of ROLE must sign."""
    from edge.repository import Change

    workspace = _workspace()
    _trust(workspace).change(Change(role, threshold=count))
    _done(workspace, (role,), f"{count} of the keys of `{role}` must sign", as_json=as_json)


@key.command()
@role_argument
@click.argument("keyid")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def revoke(role: str, keyid: str, yes: bool, as_json: bool) -> int:
    """Let the key KEYID (its beginning is enough) sign for ROLE no more, and remove its files."""
    workspace = _workspace()
    answer = output.confirm(f"Revoke the key {keyid} of `{role}` and remove its files?", yes=yes)
    if answer is None:
        raise OptionInvalid(option="--yes", reason="without a terminal, say --yes to revoke a key")
    if not answer:
        output.line("note", "nothing was changed")
        return ExitCode.FAILED
    _trust(workspace).revoke(role, keyid)
    _done(workspace, (role,), f"{keyid} signs for `{role}` no more", as_json=as_json)
    return ExitCode.DONE


@key.command()
@click.argument("roles", nargs=-1, type=click.Choice(("root", "targets")))
@json_option
def renew(roles: tuple[str, ...], as_json: bool) -> None:
    """Sign root and targets anew with the same keys, where less than half of their time is left; ROLES in any case.

    The other roles renew by themselves, with every assignment and with `edge repo refresh`.
    """
    workspace = _workspace()
    trust = _trust(workspace)
    due = [state.keys.role for state in trust.states() if state.due]
    chosen = tuple(role for role in ("root", "targets") if role in (roles or due))
    if chosen:
        trust.renew(*chosen)
    text = f"signed anew: {', '.join(chosen)}" if chosen else "nothing is due"
    _done(workspace, ("root", "targets"), text, as_json=as_json)


@key.command()
@role_argument
@click.option("--key", "keyid", metavar="ID", help="Which key, where the role has several here.")
@json_option
def passphrase(role: str, keyid: str | None, as_json: bool) -> None:
    """Choose another passphrase for the key of ROLE.

    The present one is asked for, or taken from EDGE_KEY_PASSPHRASE; the new one is asked for twice, or taken from
    EDGE_KEY_NEW_PASSPHRASE.
    """
    from edge.cli.environment import secret
    from edge.cli.passphrase import NEW_VARIABLE

    workspace = _workspace()
    held = _one_held(workspace, role, keyid)
    if not output.can_ask() and not secret(NEW_VARIABLE):
        raise OptionInvalid(option=NEW_VARIABLE, reason="without a terminal, give the new passphrase in it")
    workspace.keys.change_passphrase(held, workspace.passphrase, asker(new=True))
    if as_json:
        output.data({"role": role, "key": held.key.keyid})
    output.line("good", f"the passphrase of `{role}` ({held.key.keyid[:8]}) is another one")
    output.hint("older backups open with the old one; make a new one: edge key backup FILE")


key.add_command(backup)
key.add_command(restore)


def _workspace() -> Workspace:
    from edge.rollouts.workspace import Workspace

    return Workspace.find(asker())


def _trust(workspace: Workspace) -> Trust:
    from edge.repository import Trust

    return Trust(workspace.folder.repository, workspace.keys, workspace.passphrase, asker(new=True))


def _rotate_ssh(workspace: Workspace, *, as_json: bool) -> int:
    from edge.rollouts.ssh_rotation import replace_ssh_key

    found = replace_ssh_key(workspace)
    left = [board for board in found if board.problem is not None]
    if as_json:
        output.data(
            [{"device": b.device, "error": b.problem.to_plain() if b.problem else None} for b in found]
        )
    for board in found:
        if board.problem is None:
            output.line("good", f"{board.device} takes the new key alone")
        else:
            output.line("doubt", f"{board.device} still needs the former key: {board.problem}")
    if left:
        output.hint("both keys are tried until then; the same command goes on with the boards that are left")
        return ExitCode.INCOMPLETE
    output.line("good", "the fleet's SSH key is another one")
    output.hint("make a new backup: edge key backup FILE")
    return ExitCode.DONE


def _done(workspace: Workspace, roles: tuple[str, ...], text: str, *, as_json: bool) -> None:
    states = [state for state in _trust(workspace).states() if state.keys.role in roles]
    if as_json:
        output.data([_plain(state) for state in states])
    output.line("good", text)
    for state in states:
        output.line("note", f"{state.keys.role}: {_signing(state)}, good until {state.expires:%Y-%m-%d}")


def _one_held(workspace: Workspace, role: str, keyid: str | None) -> HeldKey:
    found = [
        held for held in workspace.keys.held(role)
        if held.private is not None and held.key.keyid.startswith(keyid or "")
    ]  # fmt: skip
    if len(found) != 1:
        known = ", ".join(held.key.keyid[:8] for held in found) or "none"
        raise OptionInvalid(option="--key", reason=f"name one key of `{role}` that is here: {known}")
    if _locked(found[0]) != "encrypted":
        raise OptionInvalid(
            option=role, reason="its key has no passphrase, so that a rollout can be halted at night"
        )
    return found[0]


def _rows(state: RoleState, folder: FleetFolder) -> list[tuple[str, str, str, str, str]]:
    counting = [key.keyid for key in state.keys.keys]
    held = {each.key.keyid: each for each in state.held}
    rows = []
    for number, keyid in enumerate(counting):
        until = f"{state.expires:%Y-%m-%d} (in {days_left(state.expires)} days)"
        rows.append(
            (
                "" if number else state.keys.role,
                keyid[:8],
                _where(held.get(keyid), folder),
                "" if number else _signing(state),
                "" if number else until,
            )
        )
    rows += [
        ("", keyid[:8], f"{_where(each, folder)}; counts no more", "", "")
        for keyid, each in held.items()
        if keyid not in counting
    ]
    return rows


def _where(held: HeldKey | None, folder: FleetFolder) -> str:
    if held is None or held.private is None:
        return "not here"
    path = held.private
    shown = path.relative_to(folder.path) if path.is_relative_to(folder.path) else path
    return f"{shown}, {_locked(held)}"


def _locked(held: HeldKey) -> str:
    from edge.identity.keyfile import is_encrypted

    if held.private is None:
        return "not here"
    try:
        return "encrypted" if is_encrypted(held.private) else "plain"
    except KeyUnreadable:
        return "unreadable"


def _signing(state: RoleState) -> str:
    return f"{state.keys.threshold} of {len(state.keys.keys)}"


def _renewal(state: RoleState) -> str:
    return renewed_by(state.keys.role)


def _plain(state: RoleState) -> dict[str, Any]:
    held = {each.key.keyid: each for each in state.held}
    counting = [key.keyid for key in state.keys.keys]
    keys = [
        {
            "key": keyid,
            "private": str(found.private) if found and found.private else None,
            "state": _locked(found) if found else "not here",
            "counts": keyid in counting,
        }
        for keyid in dict.fromkeys((*counting, *held))
        for found in [held.get(keyid)]
    ]
    return {
        "role": state.keys.role,
        "threshold": state.keys.threshold,
        "expires": int(state.expires.timestamp()),
        "due": state.due,
        "keys": keys,
    }
