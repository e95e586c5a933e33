"""The command `edge`: parse, call one function, render.

The rule: this module imports nothing heavy, and no command is imported before it is asked for, so that
`edge --help` answers at once. Only here do errors become exit codes.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

import click

from agent.contract.errors import EdgeError, ExitCode, PythonUnsupported, SystemRefused
from edge.cli.output import show_error

COMMANDS = {
    "init": ("edge.cli.init:init", "Make a fleet folder: edge.toml, keys, inventory."),
    "convert": ("edge.cli.convert:convert", "Convert a model for kinds of boards, and say what it cost."),
    "inspect": ("edge.cli.inspect:inspect", "Show what is in a bundle, a release or a model file."),
    "publish": ("edge.cli.publish:publish", "Make a release, NAME@VERSION, in the signed repository."),
    "device": ("edge.cli.device:device", "Add, list, show, probe and remove boards."),
    "flash": ("edge.cli.flash:flash", "Put a release on a board: verified, tried, confirmed."),
    "infer": ("edge.cli.infer:infer", "Send one input to a board's model."),
    "forward": ("edge.cli.forward:forward", "Bring a board's agent to a port of this machine."),
    "bench": ("edge.cli.bench:bench", "Load test on the board itself."),
    "logs": ("edge.cli.logs:logs", "Show what a board's agent says."),
    "doctor": ("edge.cli.doctor:doctor", "Check this machine, the fleet folder and the boards."),
    "sim": ("edge.cli.sim:sim", "Simulated boards with real SSH and real agents."),
    "profile": ("edge.cli.profile:profile", "List and show device profiles."),
    "repo": ("edge.cli.repo:repo", "Look after the signed repository."),
    "completion": ("edge.cli.completion:completion", "Print the shell's completion script."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 negative verdict, 4 incomplete, 130 interrupted.",
)
@click.version_option(package_name="edge-toolkit", prog_name="edge")
def cli() -> None:
    """Put trained models to work on small computers, and take them back when they are bad."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. `arguments` default to the process's own."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        show_error(PythonUnsupported(found=f"{sys.version_info[0]}.{sys.version_info[1]}"))
        return ExitCode.USAGE
    try:
        result: Any = cli.main(args=arguments, prog_name="edge", standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.DONE
    except EdgeError as error:
        show_error(error)
        return error.exit_code
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.DONE
    except OSError as error:
        show_error(SystemRefused(reason=error))
        return ExitCode.FAILED
