"""`edge rollout`: a release to many boards, wave by wave, behind a gate."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.contract.errors import ExitCode
from edge.cli import output
from edge.cli.passphrase import asker
from edge.cli.rollout_options import plan_options, request_of

if TYPE_CHECKING:
    from edge.rollouts.entries import Entry
    from edge.rollouts.fold import Rollout
    from edge.rollouts.journal import Listener
    from edge.rollouts.workspace import Workspace


@click.group()
def rollout() -> None:
    """Bring a release to many boards, wave by wave; a bad one stops at the first.

    ROLLOUT is an id like digits-4-1; without it the open rollout is meant, or the newest.
    """


json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
rollout_argument = click.argument("rollout", required=False)


@rollout.command()
@plan_options
@json_option
def plan(as_json: bool, **asked: Any) -> None:
    """Show who would get RELEASE (digits@4) in which wave, and what stands in the way. Nothing is written."""
    from edge.cli.rollout_lines import show_draft
    from edge.rollouts.planning import draft
    from edge.rollouts.standing import running_now

    workspace = _workspace()
    made = draft(workspace, request_of(**asked))
    runs = {member.device: running_now(workspace, member) for member in made.plan.members}
    if as_json:
        output.data(
            {
                "plan": made.plan,
                "left_out": made.left_out,
                "in_no_wave": made.in_no_wave,
                "busy": made.busy,
                "runs": runs,
            }
        )
        return
    show_draft(made, runs)
    output.line("note", "nothing was begun; `edge rollout start` does it, with the same words")


@rollout.command()
@plan_options
@json_option
def start(as_json: bool, **asked: Any) -> int:
    """Bring RELEASE (digits@4) to the boards, wave by wave.

    The exit code is 3 when it was halted, and its boards were taken back; 4 when it was paused, aborted, or a board
    was not reached. Ctrl-C pauses it: every board ends by itself what it was sent, and `resume` goes on.
    """
    from edge.rollouts import operations
    from edge.rollouts.planning import draft

    workspace = _workspace()
    made = draft(workspace, request_of(**asked))
    for one in made.left_out:
        output.line("doubt", f"{one.device} does not take part: {one.reason}")
    steps = output.Steps(quiet=as_json)
    code = operations.start(workspace, made.plan, steps, _listener(as_json))
    return _ended(workspace, workspace.folder.rollouts / made.plan.rollout, code, as_json)


@rollout.command()
@rollout_argument
@json_option
def resume(rollout: str | None, as_json: bool) -> int:
    """Go on where a rollout stands: after a pause, a crash, or a night; boards not reached are tried again."""
    from edge.rollouts import operations

    workspace = _workspace()
    folder = _chosen(workspace, rollout)
    return _ended(workspace, folder, operations.resume(workspace, folder, _listener(as_json)), as_json)


@rollout.command()
@rollout_argument
@json_option
def status(rollout: str | None, as_json: bool) -> None:
    """Show where a rollout stands, board by board, and the numbers that decided last."""
    _show(_chosen(_workspace(), rollout), as_json)


@rollout.command()
@rollout_argument
@json_option
def watch(rollout: str | None, as_json: bool) -> None:
    """Show what happens in a rollout, a line for each change, until nobody is at work on it."""
    from edge.cli.rollout_lines import show_entry, show_line
    from edge.rollouts.journal import follow

    for entry, state in follow(_chosen(_workspace(), rollout)):
        if as_json:
            show_line(entry)
        else:
            show_entry(entry, state)


@rollout.command()
@rollout_argument
@json_option
def pause(rollout: str | None, as_json: bool) -> None:
    """Touch no further board until `resume`; boards that were asked are waited for."""
    from edge.rollouts import operations
    from edge.rollouts.wishes import Wish

    folder = _chosen(_workspace(), rollout)
    operations.ask(folder, Wish.PAUSE)
    if as_json:
        _show(folder, as_json)
    output.line("good", f"{folder.name} is paused; `edge rollout resume` goes on")


@rollout.command()
@rollout_argument
@json_option
def abort(rollout: str | None, as_json: bool) -> None:
    """End a rollout; every board keeps what it runs. `rollback` takes the release off again."""
    from edge.rollouts import operations
    from edge.rollouts.wishes import Wish

    folder = _chosen(_workspace(), rollout)
    operations.ask(folder, Wish.ABORT)
    if as_json:
        _show(folder, as_json)
    output.line("good", f"{folder.name} is aborted; `edge rollout rollback {folder.name}` takes it back")


@rollout.command()
@rollout_argument
@json_option
def promote(rollout: str | None, as_json: bool) -> int:
    """Go on to the next wave by hand, whatever the gate still wants to see; never against a halt."""
    from edge.rollouts import operations

    workspace = _workspace()
    folder = _chosen(workspace, rollout)
    code = operations.promote(workspace, folder, _listener(as_json))
    if code is None:
        if as_json:
            _show(folder, as_json)
        output.line("good", f"{folder.name} goes on when the boards of its wave have ended")
        return ExitCode.DONE
    return _ended(workspace, folder, code, as_json)


@rollout.command()
@rollout_argument
@json_option
def rollback(rollout: str | None, as_json: bool) -> int:
    """Give all boards that took the release in a rollout what they ran before."""
    from edge.rollouts import operations

    workspace = _workspace()
    folder = _chosen(workspace, rollout)
    return _ended(workspace, folder, operations.take_back(workspace, folder, _listener(as_json)), as_json)


@rollout.command()
@rollout_argument
@json_option
def history(rollout: str | None, as_json: bool) -> None:
    """List the rollouts of this fleet, the oldest first; or tell of ROLLOUT all that happened, board by board.

    For each board: from what to what, its state and since when, why (code, sentence), the attempts that it took, the
    numbers of its trial; and the numbers by which the gate decided.
    """
    from edge.cli.rollout_lines import status_document
    from edge.rollouts.folders import RolloutFolders
    from edge.rollouts.journal import is_held

    workspace = _workspace()
    folders = RolloutFolders(workspace.folder)
    if rollout is not None:
        _tell(workspace, folders.chosen(rollout), as_json)
        return
    found = folders.all()
    if as_json:
        output.data(
            [status_document(one, at_work=is_held(folders.folder(one.plan.rollout))) for one in found]
        )
        return
    rows = [
        (
            one.plan.rollout,
            one.plan.release,
            one.state.value,
            f"{one.wave + 1} of {len(one.plan.waves)}",
            f"{len(one.has_release)} of {len(one.plan.members)}",
            output.ago(int(one.begun)),
        )
        for one in found
    ]
    output.table(("rollout", "release", "state", "wave", "boards with it", "begun"), rows)


def _workspace() -> Workspace:
    from edge.rollouts.workspace import Workspace

    return Workspace.find(asker())


def _chosen(workspace: Workspace, rollout: str | None) -> Path:
    from edge.rollouts.folders import RolloutFolders

    return RolloutFolders(workspace.folder).chosen(rollout)


def _listener(as_json: bool) -> Listener:
    """Tells a person of each entry; a terminal that is gone is no reason to end a rollout."""
    from edge.cli.rollout_lines import show_entry

    def tell(entry: Entry, state: Rollout) -> None:
        if not as_json:
            with suppress(OSError):
                show_entry(entry, state)

    return tell


def _tell(workspace: Workspace, folder: Path, as_json: bool) -> None:
    """All of one rollout."""
    from edge.cli.rollout_history import history_document, show_history
    from edge.cli.rollout_lines import show_numbers, status_document
    from edge.rollouts import history as past
    from edge.rollouts.journal import is_held, read
    from edge.rollouts.standing import newest_report

    entries, state = read(folder)
    turns = past.turns(entries)
    boards = past.boards(entries, state, lambda device_id: newest_report(workspace, device_id))
    if as_json:
        output.data(history_document(status_document(state, at_work=is_held(folder)), turns, boards))
        return
    show_history(state, turns, boards)
    decided = next((turn.reason for turn in reversed(turns) if turn.reason and turn.reason.numbers), None)
    if decided is not None:
        output.rows("the gate's last numbers", [])
        show_numbers(decided)


def _show(folder: Path, as_json: bool) -> None:
    from edge.cli.rollout_lines import show_numbers, show_status, status_document
    from edge.rollouts.journal import is_held, read

    _, state = read(folder)
    held = is_held(folder)
    if as_json:
        output.data(status_document(state, at_work=held))
        return
    show_status(state, at_work=held)
    show_numbers(state.reason)


def _ended(workspace: Workspace, folder: Path, code: ExitCode, as_json: bool) -> int:
    """Show where it stands now, and what can be done."""
    from edge.rollouts.journal import read

    _show(folder, as_json)
    _, state = read(folder)
    if code is ExitCode.INTERRUPTED or state.is_open:
        output.hint(
            f"`edge rollout resume {folder.name}` goes on, `edge rollout abort {folder.name}` ends it"
        )
    elif state.unreached:
        output.hint(f"`edge rollout resume {folder.name}` tries {', '.join(state.unreached)} again")
    elif code is ExitCode.NEGATIVE_VERDICT and state.has_release:
        names = ", ".join(state.has_release)
        output.hint(
            f"it stays on {names}, of an earlier wave; `edge rollout rollback {folder.name}` takes it off"
        )
    return int(code)
