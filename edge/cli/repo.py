"""`edge repo`: the signed repository."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import click

from edge.cli import output
from edge.cli.passphrase import asker


@click.group()
def repo() -> None:
    """Look after the signed repository."""


@repo.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def releases(as_json: bool) -> None:
    """List all releases."""
    from edge.rollouts.workspace import Workspace

    found = Workspace.find(asker()).repository.releases()
    if as_json:
        output.data(found)
        return
    rows = [
        (r.title, ", ".join(sorted(r.bundles)), "forced" if r.forced else "", output.ago(r.created_at))
        for r in found
    ]
    output.table(("release", "profiles", "", "published"), rows)


@repo.command()
@click.option(
    "--with-targets", is_flag=True, help="The targets role too, where it is due; asks for the passphrase."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def refresh(with_targets: bool, as_json: bool) -> None:
    """Sign anew what has less than half of its time left."""
    from edge.rollouts.workspace import Workspace

    repository = Workspace.find(asker()).repository
    renewed = repository.refresh(with_targets=with_targets)
    expiry = repository.expiry()
    if as_json:
        output.data(
            {"renewed": renewed, "expires": {role: int(end.timestamp()) for role, end in expiry.items()}}
        )
    output.line("good", f"signed anew: {', '.join(_without_bins(renewed))}" if renewed else "nothing is due")
    first_of: dict[str, datetime] = {}
    for role, end in expiry.items():
        shown = _without_bins((role,))[0]
        first_of[shown] = min(end, first_of.get(shown, end))
    for role, end in first_of.items():
        output.line("note", f"{role}: good until {end:%Y-%m-%d}")


def _without_bins(roles: Iterable[str]) -> list[str]:
    """Roles as a person counts them: the bins of desired states are one thing."""
    return list(dict.fromkeys("desired states" if role.startswith("desired") else role for role in roles))
