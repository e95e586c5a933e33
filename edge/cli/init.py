"""`edge init`: a fleet folder with keys and an empty signed repository."""

from __future__ import annotations

from pathlib import Path

import click

from agent.contract.errors import FleetFolderExists
from edge.cli.output import data, line
from edge.cli.passphrase import asker


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option(
    "--name", help="The fleet's name; six random letters are put behind it. Default: the folder's name."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def init(folder: Path, name: str | None, as_json: bool) -> None:
    """Make a fleet folder: edge.toml, keys, inventory, signed repository.

    Commands find it from every folder below. The root and targets keys are encrypted with a passphrase, which is
    asked for here and at each publish (or taken from EDGE_KEY_PASSPHRASE).
    """
    from edge.collector.records import make_folder
    from edge.config import EDGE_TOML, FleetFolder, fleet_name
    from edge.identity import KeyRing, SshKey
    from edge.repository import Repository

    if name is not None:
        fleet_name(name)
    there = (folder / EDGE_TOML).exists()
    cut_short = there and not (folder / "repository/metadata/timestamp.json").exists()
    if there and not cut_short:
        raise FleetFolderExists(path=folder.resolve())
    passphrase = asker(new=True)
    passphrase("root")  # before anything is made
    fleet = FleetFolder.open(folder) if cut_short else FleetFolder.create(folder, name)
    keys = KeyRing(fleet.keys)
    if not keys.complete:
        keys.create(passphrase)
    ssh = SshKey(fleet.keys)
    ssh.public_line(ssh.current)
    make_folder(fleet)
    Repository.create(fleet.repository, keys, passphrase)
    if as_json:
        data({"fleet": fleet.config.fleet, "folder": str(fleet.path)})
    line("good", f"fleet `{fleet.config.fleet}` in {fleet.path}")
    line(
        "note",
        "boards will believe its keys and nothing else: `edge key backup FILE`, kept where this laptop is not",
    )
