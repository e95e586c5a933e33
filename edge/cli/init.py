"""`edge init`: a fleet folder with keys and an empty signed repository."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.output import line
from edge.cli.passphrase import asker


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option(
    "--name", help="The fleet's name; six random letters are put behind it. Default: the folder's name."
)
def init(folder: Path, name: str | None) -> None:
    """Make a fleet folder: edge.toml, keys, inventory, signed repository.

    Commands find it from every folder below. The root and targets keys are encrypted with a passphrase, which is
    asked for here and at each publish (or taken from EDGE_KEY_PASSPHRASE).
    """
    from edge.config import EDGE_TOML, FleetFolder
    from edge.identity import KeyRing
    from edge.repository import Repository

    passphrase = asker(new=True)
    passphrase("root")  # before anything is made
    cut_short = (folder / EDGE_TOML).exists() and not (folder / "repository/metadata/timestamp.json").exists()
    fleet = FleetFolder.open(folder) if cut_short else FleetFolder.create(folder, name)
    keys = KeyRing(fleet.keys)
    if not keys.complete:
        keys.create(passphrase)
    keys.ssh_key_path()
    Repository.create(fleet.repository, keys, passphrase)
    line("good", f"fleet `{fleet.config.fleet}` in {fleet.path}")
    line("note", "keys/ holds its keys: keep a copy of it and the passphrase where this laptop is not")
