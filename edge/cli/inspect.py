"""`edge inspect`: what is in a bundle or a release."""

from __future__ import annotations

from pathlib import Path

import click

from agent.contract.names import is_release
from edge.cli import output
from edge.cli.passphrase import asker


@click.command()
@click.argument("what")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(what: str, as_json: bool) -> None:
    """Show what is in WHAT: a release (digits@2), or a bundle's folder, of which every byte is verified."""
    if is_release(what) and not Path(what).exists():
        _release(what, as_json)
    else:
        _bundles(Path(what), as_json)


def _release(title: str, as_json: bool) -> None:
    from edge.rollouts.workspace import Workspace

    repository = Workspace.find(asker()).repository
    release = repository.release(title)
    if as_json:
        output.data(release)
        return
    output.table(
        ("profile", "bundle", "size", "verdict"),
        [
            (profile, digest[:16], output.size(manifest.size_bytes), manifest.verdict)
            for profile, digest in sorted(release.bundles.items())
            for manifest in [repository.bundle(digest)]
        ],
        right=(2,),
    )


def _bundles(path: Path, as_json: bool) -> None:
    from edge.bundle import find_bundles, open_bundle

    opened = [open_bundle(folder) for folder in find_bundles(path)]
    if as_json:
        output.data([{"folder": str(b.folder), "digest": b.digest, "manifest": b.manifest} for b in opened])
        return
    for bundle in opened:
        manifest = bundle.manifest
        click.echo(f"{bundle.folder}  {bundle.digest}")
        golden = manifest.golden
        rows = [
            (
                "model",
                f"{manifest.model} for {manifest.profile}, {manifest.format.value},"
                f" recipe {manifest.recipe.get('name')}",
            ),
            *(("input", f"{t.name} {t.dtype} {list(t.shape)}") for t in manifest.inputs),
            *(("output", f"{t.name} {t.dtype} {list(t.shape)}") for t in manifest.outputs),
            (
                "golden set",
                f"{golden.samples} {golden.origin.value},"
                f" floor {_part(golden.floor)}, agrees {_part(golden.agreement)}",
            ),
            ("proved in", golden.proved_in or "nothing yet: the board's trial is the first run"),
            ("needs", ", ".join(f"{name} {least}" for name, least in manifest.requires.engines.items())),
            ("verdict", manifest.verdict),
            ("files", ", ".join(f"{f.path} ({output.size(f.size_bytes)})" for f in manifest.files)),
        ]
        output.facts(rows)


def _part(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
