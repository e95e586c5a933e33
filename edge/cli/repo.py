"""`edge repo`: the signed repository."""

from __future__ import annotations

import time

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
def refresh(with_targets: bool) -> None:
    """Sign anew what has less than half of its time left."""
    from edge.rollouts.workspace import Workspace

    repository = Workspace.find(asker()).repository
    renewed = repository.refresh(with_targets=with_targets)
    output.line("good", f"signed anew: {', '.join(renewed)}" if renewed else "nothing is due")
    for role, expires in repository.expiry().items():
        output.line("note", f"{role} is good until {time.strftime('%Y-%m-%d', expires.timetuple())}")
