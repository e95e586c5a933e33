"""`edge publish`: bundles become a release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.contract.errors import OptionInvalid
from edge.cli import output
from edge.cli.expiry import expiring
from edge.cli.passphrase import asker

if TYPE_CHECKING:
    from agent.contract.release import Budgets

BUDGETS = ("p95_ms", "memory_mb")


@click.command()
@click.argument("name")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="p95_ms=N|memory_mb=N",
    help="What the model may cost on a board: CPU time at p95 in ms, memory in MB. Repeatable.",
)
@click.option(
    "--force", is_flag=True, help="Publish what the conversion judged badly; boards judge it again."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def publish(
    name: str, bundles: tuple[Path, ...], budgets: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Make the next release of NAME from BUNDLES (bundle folders, or folders of them)."""
    from edge.bundle import find_bundles, open_bundle
    from edge.rollouts.workspace import Workspace

    workspace = Workspace.find(asker())
    opened = [open_bundle(folder) for path in bundles for folder in find_bundles(path)]
    release = workspace.repository.publish(name, opened, budgets=_parse(budgets), force=force)
    for warning in expiring(workspace.repository.expiry()):
        output.line("doubt", warning)
    if as_json:
        output.data(release)
        return
    forced = ", forced against the conversion's verdict" if release.forced else ""
    output.line("good", f"{release.title} for {', '.join(sorted(release.bundles))}{forced}")


def _parse(budgets: tuple[str, ...]) -> Budgets:
    from agent.contract.release import Budgets

    found: dict[str, float] = {}
    for budget in budgets:
        key, _, value = budget.partition("=")
        if key not in BUDGETS:
            raise OptionInvalid(
                option=f"--budget {budget}", reason=f"a budget is one of {', '.join(BUDGETS)}"
            )
        try:
            found[key] = float(value)
        except ValueError:
            raise OptionInvalid(option=f"--budget {budget}", reason=f"`{value}` is no number") from None
        if not 0 < found[key] < float("inf"):
            raise OptionInvalid(option=f"--budget {budget}", reason="a budget is above 0")
    return Budgets(p95_ms=found.get("p95_ms"), memory_mb=found.get("memory_mb"))
