"""What holds for every command: help, `--json`, secrets, and a place in the list."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import click
import pytest

from edge.cli.main import COMMANDS, cli
from tests.cli.conftest import Edge

NO_JSON = {"completion"}
"""It prints a script, which is what was asked for."""


def every_command() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", found) for below, found in command.commands.items())
        else:
            yield name, command


ALL = dict(every_command())


@pytest.mark.parametrize("name", ALL)
def test_help_says_what_it_does_and_ends_well(edge: Edge, name: str) -> None:
    for flag in ("--help", "-h"):
        ended = edge(*name.split(), flag)
        assert ended.code == 0
        assert f"Usage: edge {name}" in ended.out
        assert ended.err == ""


@pytest.mark.parametrize("name", sorted(set(ALL) - NO_JSON))
def test_a_script_can_ask_for_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in ALL[name].params)


@pytest.mark.parametrize("name", ALL)
def test_a_secret_is_never_an_argument(name: str) -> None:
    for parameter in ALL[name].params:
        if any(word in (parameter.name or "") for word in ("password", "passphrase")):
            assert isinstance(parameter, click.Option)
            assert parameter.is_flag


@pytest.mark.parametrize("name", ["device remove", "device add", "key revoke", "key restore"])
def test_what_asks_has_a_yes(name: str) -> None:
    assert any("--yes" in parameter.opts for parameter in ALL[name].params)


def test_the_list_says_what_the_commands_say() -> None:
    for name, (_, summary) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help
        assert summary.endswith(".")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_the_shells_own(edge: Edge, shell: str) -> None:
    ended = edge("completion", shell)
    assert ended.code == 0
    assert "_EDGE_COMPLETE" in ended.out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=ended.out, text=True).returncode == 0
