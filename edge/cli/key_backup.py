"""`edge key backup`, `edge key restore`: what can't be made again of a fleet folder, in one sealed file, and back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.contract.errors import (
    BackupExists,
    BackupMissing,
    BackupPassphraseMissing,
    EdgeError,
    ExitCode,
    OptionInvalid,
    TransferError,
)
from edge.cli import output
from edge.cli.environment import secret
from edge.cli.passphrase import asker

if TYPE_CHECKING:
    from edge.backup.archive import BackupIndex
    from edge.backup.halves import Halves
    from edge.backup.restoring import Restored
    from edge.config import FleetFolder
    from edge.rollouts.catching_up import Asked, CaughtUp

VARIABLE = "EDGE_BACKUP_PASSPHRASE"
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--check", is_flag=True, help="Make none: see that FILE is whole, and whose private keys are in it."
)
@click.option("--with-blobs", is_flag=True, help="The files of bundles and runtimes too; they may be large.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def backup(file: Path, check: bool, with_blobs: bool, as_json: bool) -> None:
    """Seal what can't be made again in FILE: keys, edge.toml, boards, releases, desired states, rollouts.

    FILE is encrypted with a passphrase of its own, asked for here (or taken from EDGE_BACKUP_PASSPHRASE). It is never
    written over.
    """
    from edge.backup import restoring
    from edge.backup.archive import open_backup, write_backup
    from edge.config import FleetFolder

    missing: tuple[str, ...] = ()
    if check:
        _must_be_there(file)
        opened = open_backup(file, _passphrase(new=False))
        index, seen = opened.index, restoring.check(opened)
        missing, keys = seen.missing, seen.keys
    else:
        fleet = FleetFolder.find()
        if file.exists():
            raise BackupExists(path=file)
        index = write_backup(fleet, file, _passphrase(new=True), with_blobs=with_blobs)
        keys = _halves(fleet)
    if as_json:
        output.data({
            "file": str(file), "file_bytes": file.stat().st_size, "checked": check, "backup": index,
            "missing": missing, "keys": keys,
        })  # fmt: skip
    output.line(
        "good",
        f"{file} {'is whole' if check else 'is written'}: {output.size(file.stat().st_size)}, {_said(index)}",
    )
    _say_keys(keys)
    if index.bundles and missing:
        output.line(
            "doubt", f"files are missing of {', '.join(missing)}: they were missing in the folder, too"
        )
    if not index.bundles:
        output.line(
            "note", "the files of bundles and runtimes are not in it: publish again what is flashed then"
        )
    if not check:
        output.line("note", "keep it and its passphrase where this laptop is not; without both, all boards need"
                            " --reset-trust")  # fmt: skip


@click.command()
@click.argument("file", type=FILE, required=False)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option(
    "--believe", multiple=True, metavar="DEVICE", help="Go past what it has seen, however far that is."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def restore(file: Path | None, folder: Path, believe: Sequence[str], yes: bool, as_json: bool) -> int:
    """Bring the backup FILE back into FOLDER, then ask all boards what they have seen, and go past it.

    What was in FOLDER is moved aside. Without FILE the boards are asked alone: where some could not be reached, or an
    old copy of the folder is used. Nothing on a board is changed.

    Exit code 4: some boards could not be asked, or are not believed.
    """
    from edge.config import FleetFolder
    from edge.rollouts.catching_up import catch_up
    from edge.rollouts.workspace import Workspace

    restored = _bring_back(file, folder, yes=yes) if file is not None else None
    if file is not None and restored is None:
        output.line("note", "nothing was changed")
        return ExitCode.FAILED
    fleet = restored.folder if restored else FleetFolder.find()
    caught_up = catch_up(Workspace(fleet, asker()), output.Steps(quiet=as_json), believe=believe)
    for board in caught_up.asked:
        _show(board)
    if as_json:
        output.data(_plain(restored, caught_up))
    if caught_up.complete:
        return ExitCode.DONE
    if any(isinstance(board.problem, TransferError) for board in caught_up.asked):
        output.hint("bring the boards back, then: edge key restore; or each flash does it for its board")
    return ExitCode.INCOMPLETE


def _bring_back(file: Path, folder: Path, *, yes: bool) -> Restored | None:
    from edge.backup import restoring
    from edge.backup.archive import open_backup
    from edge.rollouts.folders import RolloutFolders

    _must_be_there(file)
    restoring.see_place(folder)
    backup = open_backup(file, _passphrase(new=False))
    restoring.check(backup)
    output.line("note", f"{file}: {_said(backup.index)}")
    if any((folder / part).exists() for part in restoring.SWAPPED):
        answer = output.confirm(f"Put it in the place of what is in {folder.resolve()}?", yes=yes)
        if answer is None:
            raise OptionInvalid(
                option="--yes", reason=f"without a terminal, say --yes to replace {folder.resolve()}"
            )
        if not answer:
            return None
        _end_collector(folder, backup.index)
    restored = restoring.restore(backup, folder)
    output.line("good", f"fleet `{backup.index.fleet}` is back in {restored.folder.path}")
    if restored.aside is not None:
        output.line(
            "note", f"what was there is in {restored.aside}; remove it when all is well, it holds keys"
        )
    if restored.missing:
        output.line(
            "note",
            f"files are missing of {', '.join(restored.missing)}: publish them again before you flash them",
        )
    for rollout in RolloutFolders(restored.folder).all():
        if rollout.is_open:
            output.line("doubt", f"the rollout {rollout.plan.rollout} was open when the backup was made: look at what"
                                 " its boards run now before you resume it")  # fmt: skip
    return restored


def _end_collector(folder: Path, index: BackupIndex) -> None:
    """A collector would go on with the keys and boards that are moved aside; `edge.toml` may be damaged or gone."""
    from edge.collector import client
    from edge.config import FleetFolder
    from edge.settings import FleetConfig

    if client.stop(FleetFolder(folder.resolve(), FleetConfig(fleet=index.fleet))):
        output.line("note", "the collector has ended; the next flash starts it again")


def _show(board: Asked) -> None:
    if board.problem is not None:
        output.line("bad", f"{board.device}: {board.problem} [{board.problem.code}]")
        output.hint(board.problem.hint)
        return
    ahead = ", ".join(f"{role} {version}" for role, version in board.ahead.items())
    output.line("good", f"{board.device} {f'had seen {ahead}' if ahead else 'has seen nothing newer'}")
    if board.unknown:
        output.line(
            "note",
            f"{board.device} serves {', '.join(board.unknown)}, which this folder does not know; it goes on until you"
            " flash it",
        )


def _said(index: BackupIndex) -> str:
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(index.created_at))
    return (
        f"fleet `{index.fleet}` as of {made}: its keys; boards: {index.devices}, releases: {index.releases},"
        f" files: {index.files}"
    )


def _plain(restored: Restored | None, caught_up: CaughtUp) -> dict[str, object]:
    boards = [
        {
            "device": board.device,
            "ahead": board.ahead,
            "unknown": board.unknown,
            "problem": board.problem.to_plain() if board.problem else None,
        }
        for board in caught_up.asked
    ]
    found: dict[str, object] = {
        "boards": boards, "passed": caught_up.passed, "timestamp": caught_up.timestamp,
    }  # fmt: skip
    if restored is not None:
        found["restored"] = {
            "folder": str(restored.folder.path),
            "backup": restored.index,
            "aside": str(restored.aside) if restored.aside else None,
            "missing": restored.missing,
        }
    return found


def _halves(fleet: FleetFolder) -> tuple[Halves, ...]:
    """Of a folder that may be damaged: it is backed up all the same."""
    from edge.backup.halves import halves

    try:
        return halves(fleet)
    except EdgeError as error:
        output.line("doubt", f"whose private keys are in it can't be told: {error}")
        return ()


def _say_keys(keys: Sequence[Halves]) -> None:
    inside = [f"{one.role} {', '.join(one.inside)}" for one in keys if one.inside]
    if inside:
        output.line("note", f"private keys in it: {'; '.join(inside)}")
    for one in keys:
        if one.outside:
            output.line("doubt", f"{one.role}: the private half of {', '.join(one.outside)} is not in it")
        if not one.enough:
            output.line(
                "doubt",
                f"{one.role}: {one.threshold} must sign, {len(one.inside)} are in it: from this backup alone nothing"
                f" can be signed for {one.role}; keep the others as safely as it",
            )


def _must_be_there(file: Path) -> None:
    """Nobody is asked for the passphrase of a file that is not there."""
    if not file.exists():
        raise BackupMissing(path=file, reason="there is no such file")


def _passphrase(*, new: bool) -> str:
    given = secret(VARIABLE)
    if not given and output.can_ask():
        text = f"{'New passphrase' if new else 'Passphrase'} for the backup"
        given = click.prompt(text, hide_input=True, confirmation_prompt=new, err=True)
    if not given:
        raise BackupPassphraseMissing()
    return given
