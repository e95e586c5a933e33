"""`edge profile`: the kinds of boards that edge knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge.cli import output

if TYPE_CHECKING:
    from agent.contract.profile import DeviceProfile


@click.group()
def profile() -> None:
    """List and show device profiles; those in the fleet folder's device_profiles/ win."""


@profile.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    """List all profiles."""
    profiles = known_profiles()
    if as_json:
        output.data(list(profiles.values()))
        return
    rows = [
        (p.name, p.architecture, p.engine.value, f"{p.memory_mib.value:g} MiB", p.title)
        for p in profiles.values()
    ]
    output.table(("profile", "architecture", "engine", "memory", "board"), rows, right=(3,))


@profile.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(name: str, as_json: bool) -> None:
    """Show one profile with the source of each number."""
    from agent.contract.profile import Sourced
    from edge.profiles import profile_named

    found = profile_named(name, known_profiles())
    if as_json:
        output.data(found)
        return
    click.echo(found.name)
    for field, value in vars(found).items():
        if field in ("extra", "name") or value in (None, "", ()):
            continue
        if isinstance(value, Sourced):
            text = f"{value.value:g}  ({value.source})"
        else:
            text = ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))
        click.echo(f"  {field:16}  {text}")


def known_profiles() -> dict[str, DeviceProfile]:
    """Built-in profiles, and those of the fleet folder when this is one."""
    from agent.contract.errors import FleetFolderMissing
    from edge.config import FleetFolder
    from edge.profiles import load_profiles

    try:
        return load_profiles(FleetFolder.find())
    except FleetFolderMissing:
        return load_profiles(None)
