"""`edge broker`: a broker of one's own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import click

from edge.cli import output


@click.group()
def broker() -> None:
    """Use a broker of your own instead of the one that comes along."""


@broker.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--host", help="The broker's name, as boards look it up; that of `[mqtt] url` unless given.")
@click.option("--port", type=click.IntRange(1, 65535), help="Its port; that of `[mqtt] url`, else 8883.")
@click.option(
    "--at",
    "files",
    type=click.Path(path_type=PurePosixPath),
    help="Where these files will lie on the broker's machine; FOLDER unless given.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def config(
    folder: Path, host: str | None, port: int | None, files: PurePosixPath | None, as_json: bool
) -> None:
    """Write the configuration of a mosquitto into FOLDER: listener, access list, certificates.

    With it, a board's credentials let it speak for that board alone, and nobody without a certificate of this fleet
    gets in.
    """
    from edge.certificates import CERTIFICATE
    from edge.collector.own_broker import address, write_files
    from edge.collector.records import enrolled_id, make_folder
    from edge.config import FleetFolder

    fleet = FleetFolder.find()
    name, number = address(fleet, host, port)
    folder = folder.resolve()
    make_folder(fleet)
    written = write_files(
        fleet,
        folder,
        collector_id=enrolled_id(fleet),
        host=name,
        port=number,
        files=files or PurePosixPath(folder),
    )
    url = f"mqtts://{name}:{number}"
    if as_json:
        output.data({"url": url, "files": [str(path) for path in written]})
    output.line("good", f"{', '.join(path.name for path in written)} are in {folder}")
    output.talk("Copy them to the broker's machine; `server.key` must be readable by mosquitto's user alone.")
    output.talk(f"There, name the configuration: include_dir {files or folder}")
    output.talk("Here, name the broker in edge.toml; a collector that runs takes it up by itself:")
    output.talk(f'  [mqtt]\n  url = "{url}"\n  ca = "{fleet.keys.name}/{CERTIFICATE}"')


@broker.command()
@click.argument("name")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def client(name: str, folder: Path, as_json: bool) -> None:
    """Write a certificate with which the client NAME may ask boards' models, into FOLDER.

    NAME must stand in `[mqtt] clients` in edge.toml; taken out there, it may no more. Says under which topic each board
    is asked: the model's name follows it.
    """
    from agent.contract.errors import OptionInvalid
    from agent.contract.topics import TopicKind, beginning
    from edge.collector.own_broker import write_client
    from edge.config import FleetFolder
    from edge.inventory import Inventory

    fleet = FleetFolder.find()
    if name not in fleet.config.mqtt_clients:
        reason = f'first name it in edge.toml: [mqtt] clients = ["{name}"]'
        raise OptionInvalid(option=name, reason=reason)
    written = write_client(fleet, folder.resolve(), name)
    boards = {
        device.name: beginning(fleet.config.fleet, device.device_id, TopicKind.INFER)
        for device in Inventory(fleet).list()
        if device.enrolled
    }
    if as_json:
        output.data({"files": [str(path) for path in written], "boards": boards})
    output.line("good", f"{', '.join(path.name for path in written)} are in {folder.resolve()}")
    output.talk(
        "A collector that runs takes the name up by itself; for a broker of your own, write its files anew"
    )
    output.talk("with `edge broker config`. One connection at a time may have the name.")
    for board, beginning_of in boards.items():
        output.talk(output.visible(f"{board} is asked at {beginning_of}MODEL"))
