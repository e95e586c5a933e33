"""The command `edge`: parse, call one function, render.

The rule: this module imports nothing heavy, and no command is imported before it is asked for, so that
`edge --help` answers at once. Only here do errors become exit codes.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from agent.contract.errors import (
    EdgeError,
    ExitCode,
    Interrupted,
    OptionInvalid,
    PythonUnsupported,
    SystemRefused,
)
from edge.cli.environment import take_secrets
from edge.cli.output import show_error

COMMANDS = {
    "init": ("edge.cli.init:init", "Make a fleet folder: edge.toml, keys, inventory."),
    "convert": ("edge.cli.convert:convert", "Convert a model for kinds of boards, and say what it cost."),
    "frameworks": (
        "edge.cli.frameworks:frameworks",
        "Environments for PyTorch, scikit-learn and more: list, add, remove.",
    ),
    "inspect": ("edge.cli.inspect:inspect", "Show what is in a bundle or a release."),
    "compare": (
        "edge.cli.compare:compare",
        "Two artifacts layer by layer: what of one is left in the other.",
    ),
    "publish": ("edge.cli.publish:publish", "Make a release, NAME@VERSION, in the signed repository."),
    "device": (
        "edge.cli.device:device",
        "Add, list, show, probe and remove boards; open them to other machines.",
    ),
    "flash": ("edge.cli.flash:flash", "Put a release on a board: verified, tried, confirmed."),
    "rollout": ("edge.cli.rollout:rollout", "A release to many boards, wave by wave, behind a gate."),
    "infer": ("edge.cli.infer:infer", "Send one input to a board's model."),
    "stream": ("edge.cli.stream:stream", "Have a board look at a folder or camera by itself."),
    "forward": ("edge.cli.forward:forward", "Bring a board's agent to a port of this machine."),
    "bench": (
        "edge.cli.bench:bench",
        "Load test: latency, throughput, CPU time, memory; side by side; the knee.",
    ),
    "collect": ("edge.cli.collect:collect", "The background collector: what boards report, kept here."),
    "watch": ("edge.cli.watch:watch", "The fleet, live: what boards serve, how quickly, and how they are."),
    "telemetry": (
        "edge.cli.telemetry:telemetry",
        "What boards reported, as it is stored: query, tail, export.",
    ),
    "logs": ("edge.cli.logs:logs", "Show what a board's agent says."),
    "doctor": ("edge.cli.doctor:doctor", "Check this machine, the fleet folder and the boards."),
    "chaos": ("edge.cli.chaos:chaos", "Kill, cut and count: what was lost, duplicated, stated as dropped."),
    "sim": ("edge.cli.sim:sim", "Simulated boards with real SSH and real agents."),
    "profile": ("edge.cli.profile:profile", "List and show device profiles."),
    "broker": ("edge.cli.broker:broker", "Use a broker of your own."),
    "repo": ("edge.cli.repo:repo", "Look after the signed repository."),
    "key": ("edge.cli.key:key", "The fleet's keys: change, back up, restore."),
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, or an error that says which one may be."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from edge.suggestion import did_you_mean

            ctx.fail(f"no such command `{args[0]}`{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

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
    take_secrets()
    code = run(arguments)
    written = _let_go_of_output()
    sys.exit(code if written else code or ExitCode.FAILED)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. `arguments` default to the process's own."""
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    _prepare()
    try:
        try:
            return _run(arguments)
        except EdgeError as error:
            show_error(error, as_json=as_json)
            return error.exit_code
        except click.ClickException as error:
            if as_json:
                show_error(_told(error), as_json=True)
            else:
                error.show()
            return ExitCode.USAGE
    except BrokenPipeError:
        _let_go_of_output()
        return ExitCode.FAILED
    except OSError as error:
        _let_go_of_output()
        show_error(SystemRefused(reason=error))
        return ExitCode.FAILED


def _run(arguments: list[str] | None) -> int:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise PythonUnsupported(found=f"{sys.version_info[0]}.{sys.version_info[1]}")
    try:
        result: Any = cli.main(args=arguments, prog_name="edge", standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.DONE
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        raise Interrupted() from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SystemRefused(reason=error) from error


def _prepare() -> None:
    """Being ended is an interruption, so that what was begun is put in order; a letter that the terminal does not
    have is no reason to end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        with suppress(ValueError):  # only the main thread may say so
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _told(error: click.ClickException) -> OptionInvalid:
    context = getattr(error, "ctx", None)
    return OptionInvalid(option=context.command_path if context else "edge", reason=error.format_message())


def _let_go_of_output() -> bool:
    """Whether all was written. Where nobody reads any more, or nothing can be written, what is left over must not be
    tried again at exit: the interpreter would end with a code of its own."""
    written = True
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            written = False
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return written
