"""`edge frameworks`: environments of their own for what reads PyTorch, scikit-learn and more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli import output

if TYPE_CHECKING:
    from converters.frameworks.environment import Environment
    from converters.frameworks.pins import Framework


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def frameworks(ctx: click.Context, as_json: bool) -> None:
    """List the frameworks that have an environment of their own; add and remove these.

    They are made in the user's cache, from pinned versions, by pip with the user's own settings, and shared by all
    fleet folders.
    """
    if ctx.invoked_subcommand is not None:
        return
    from converters.frameworks.environment import made
    from converters.frameworks.pins import frameworks as known
    from edge.config import frameworks_dir

    found = [(framework, made(framework, frameworks_dir())) for framework in known().values()]
    if as_json:
        output.data([_plain(framework, environment) for framework, environment in found])
        return
    rows = [
        (
            framework.name,
            framework.title,
            output.size(environment.size_bytes) if environment else "–",
            str(environment.folder) if environment else f"edge frameworks add {framework.name}",
        )
        for framework, environment in found
    ]
    output.table(("framework", "for", "size", "where"), rows, right=(2,))


@frameworks.command()
@click.argument("name")
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    metavar="PYTHON",
    help="The Python to use. Default: one on the PATH that fits.",
)
@click.option(
    "--find-links", multiple=True, metavar="PLACE", help="Where pip may find packages too. Repeatable."
)
@click.option(
    "--extra-index-url",
    multiple=True,
    metavar="ADDRESS",
    help="A further package index for pip. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def add(
    name: str,
    python: Path | None,
    find_links: tuple[str, ...],
    extra_index_url: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make the environment of the framework NAME, unless it is there.

    On Linux with an x86-64 processor the usual package index has PyTorch with CUDA, several GB that a conversion
    does not use. PyTorch's own page names the index of its CPU build: give that as --extra-index-url.
    """
    from converters.frameworks.environment import make
    from converters.frameworks.pins import find
    from edge.config import frameworks_dir, log_file

    framework, steps = find(name), output.Steps(quiet=as_json)
    options = [
        *(f"--find-links={place}" for place in find_links),
        *(f"--extra-index-url={address}" for address in extra_index_url),
    ]
    log = log_file(f"frameworks-{name}")
    environment = make(framework, frameworks_dir(), log=log, python=python, options=options, say=steps.step)
    if as_json:
        output.data(_plain(framework, environment))
        return
    output.line("good", f"{name}: {output.size(environment.size_bytes)} in {environment.folder}")


@frameworks.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def remove(name: str, as_json: bool) -> None:
    """Remove the environment of the framework NAME, and those of its older pins."""
    from converters.frameworks import environment
    from converters.frameworks.pins import find
    from edge.config import frameworks_dir

    count = environment.remove(find(name), frameworks_dir())
    if as_json:
        output.data({"framework": name, "removed": count})
        return
    output.line("good", f"{name}: {'it was removed' if count else 'there was none'}")


def _plain(framework: Framework, environment: Environment | None) -> dict[str, Any]:
    return {
        "name": framework.name,
        "title": framework.title,
        "packages": framework.packages,
        "pythons": framework.pythons,
        "folder": str(environment.folder) if environment else None,
        "size_bytes": environment.size_bytes if environment else None,
        "versions": environment.versions if environment else None,
    }
