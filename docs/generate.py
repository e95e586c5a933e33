"""Write what is made from the code: the states of an update, the command line, and the tables of other pages.

Usage: python docs/generate.py [--check]. With --check nothing is written, and the exit code is 1 when a page is old.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from agent.contract.states import END_STATES, TRANSITIONS, UpdateEvent, UpdateState
from edge.cli.main import COMMANDS, cli

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from capability_tables import limits_table, versions_tables  # noqa: E402 - beside this file
from contract_tables import message_tables, topics_table  # noqa: E402
from converter_tables import frameworks_table, matrix, recipes_table, ways_table  # noqa: E402
from rollout_tables import deadlines_table, member_states_table, rollout_states_table  # noqa: E402

STATE_WORDS = {
    UpdateState.NONE: "nothing was ever asked of this board",
    UpdateState.STAGED: "verified and unpacked; nothing of it has run",
    UpdateState.CHECKING: "runs beside the current generation on the golden set; serves nobody",
    UpdateState.PROBATION: "serves, while `current` still names the generation before it",
    UpdateState.CONFIRMED: "`current`; the generation before it stays pinned",
    UpdateState.FINALISED: "`current`; the generation before it may be reclaimed",
    UpdateState.REFUSED: "did not pass before it served; `current` was never touched",
    UpdateState.ROLLED_BACK: "served in probation and was taken back; `current` serves again",
    UpdateState.INCONSISTENT: "could neither be finished nor taken back; a person is needed",
}


def states_page() -> str:
    """`states.md`: the transition table as a diagram and as words."""
    drawn = [
        f"    {_id(state)} --> {_id(after)}: {event.value}"
        for (state, event), after in TRANSITIONS.items()
        if event is not UpdateEvent.INTERRUPTED or after is not state
    ]
    ends = [
        f"    {_id(state)} --> [*]"
        for state in UpdateState
        if state in END_STATES and state is not UpdateState.NONE
    ]
    words = [
        f"| {state.value} | {text} | {'yes' if state in END_STATES else ''} |"
        for state, text in STATE_WORDS.items()
    ]
    return "\n".join(
        [
            "# The states of an update",
            "",
            "Made from `agent/contract/states.py` by `docs/generate.py`. A board moves along this table alone.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            f"    [*] --> {_id(UpdateState.NONE)}",
            *drawn,
            *ends,
            "```",
            "",
            "| state | what it means | an end |",
            "|---|---|---|",
            *words,
            "",
            "`interrupted` in *staged* and *probation* stays where it is and spends one attempt.",
            "",
        ]
    )


def command_page() -> str:
    """`cli.md`: every command's own help."""
    parts = ["# The command line", "", "Made from the commands' own help by `docs/generate.py`.", ""]
    for path, command in _walk():
        context = click.Context(command, info_name=path, max_content_width=100)
        parts += [f"## `{path}`", "", "```text", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(parts)


def _walk() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        if command is None:
            raise SystemExit(f"`{name}` is listed and is no command")
        yield f"edge {name}", command
        if isinstance(command, click.Group):
            for child_name, child in sorted(command.commands.items()):
                yield f"edge {name} {child_name}", child


def _id(state: UpdateState) -> str:
    return state.value.replace("-", "_")


def filled(name: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page that is written by hand, with its tables (between `<!-- TABLE -->` and `<!-- end -->`) made anew."""
    text = (HERE / name).read_text()
    for table, make in tables.items():
        begin, end = f"<!-- {table} -->\n", "<!-- end -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"docs/{name} has no place for the table `{table}`")
        text = f"{head}{begin}\n{make()}\n\n{end}{tail}"
    return text


def telemetry_page() -> str:
    """`telemetry.md`: topics and messages from the contract."""
    return filled("telemetry.md", {"topics": topics_table, "messages": message_tables})


def converters_page() -> str:
    """`converters.md`: recipes and frameworks as they are, and what the tests of conversions measured."""
    return filled(
        "converters.md",
        {
            "ways": ways_table,
            "frameworks": frameworks_table,
            "recipes": recipes_table,
            "versions": versions_tables,
            "limits": limits_table,
            "matrix": matrix,
        },
    )


def rollouts_page() -> str:
    """`rollouts.md`: states of a rollout and of its boards."""
    return filled(
        "rollouts.md",
        {
            "rollout-states": rollout_states_table,
            "board-states": member_states_table,
            "deadlines": deadlines_table,
        },
    )


PAGES = {
    "states.md": states_page,
    "cli.md": command_page,
    "telemetry.md": telemetry_page,
    "rollouts.md": rollouts_page,
    "converters.md": converters_page,
}


def main(*, check: bool) -> int:
    """Write the pages, or compare them; returns the exit code."""
    old = []
    for name, make in PAGES.items():
        path, text = HERE / name, make()
        if check:
            if not path.exists() or path.read_text() != text:
                old.append(name)
        else:
            path.write_text(text)
    for name in old:
        print(f"docs/{name} is old: run `python docs/generate.py`", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
