"""A small fleet, and boards that are begun from a tree: real supervisor, launcher, update process and fixture agent.

The runtime holds four files: the fixture's `agent` package leads to a zip of the compiled agent of this tree, and its
packages are those of this environment. A whole board has less than 20 files in its objects.
"""

from __future__ import annotations

import getpass
import importlib.util
import io
import marshal
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import decode, encode
from agent.contract.install import InstallRequest
from agent.contract.runtime import RuntimeManifest
from agent.update.commands import place
from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.repository import Repository
from tests.update.bundles import PROFILE
from tests.update.world import DEVICE, QUICK, ROOT, Blobs, Board, Fleet, agent_files, passphrase

INSTALL = "install.json"
"""What the installer of a fleet's board is told, in the fleet's working folder."""
TERMS = replace(QUICK, probation_s=0.1)
_INIT = """\
import os
import sys

import environment

__path__.append(os.path.join(os.path.dirname(os.path.dirname(__file__)), "agent.zip", "agent"))
sys.path.append(environment.FOLDER)
"""


def small_agent(changed: dict[str, str] | None = None) -> dict[str, bytes]:
    """The agent's layer: this tree's agent compiled in one zip, recorded where the environment says so."""
    files = {name: data for name, data in agent_files().items() if name.startswith("agent/")}
    del files["agent/falling.py"]
    files["agent/update/files.py"] = (ROOT / "agent/update/files.py").read_bytes() + (
        b"\n\nfrom agent import recording  # noqa: E402\n\nDISK = recording.disk(Files)\n"
    )
    files["agent/recording.py"] = (ROOT / "tests/crash/recording.py").read_bytes()
    files |= {name: text.encode() for name, text in (changed or {}).items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in sorted(files.items()):
            if name != "agent/__init__.py":
                code = compile(data, name, "exec", dont_inherit=True)
                head = (
                    importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(data)
                )
                archive.writestr(zipfile.ZipInfo(f"{name}c"), head + marshal.dumps(code))
    return {
        "agent/__init__.py": _INIT.encode(),
        "agent/launch.py": files["agent/launch.py"],
        "agent.zip": stream.getvalue(),
    }


def small_fleet(path: Path) -> Fleet:
    import tuf

    blobs = Blobs(path / "blobs")
    agent = blobs.add_layer("edge-agent", "0.1.0", small_agent())
    site = str(Path(tuf.__file__).parents[1])
    packages = blobs.add_layer("packages", "1.0.0", {"environment.py": f"FOLDER = {site!r}\n".encode()})
    runtime, data = blobs.runtime(agent, packages)
    folder = FleetFolder.create(path / "fleet", "kitchen")
    keys = KeyRing(folder.keys)
    keys.create(passphrase)
    repository = Repository.create(folder.repository, keys, passphrase)
    repository.add_runtime(
        data, {one.sha256: blobs.folder / "blobs" / one.sha256 for one in (agent, packages)}
    )
    place(path / "placed", runtime, blobs.folder)
    return Fleet(
        folder=folder, keys=keys, repository=repository, runtime=runtime, runtime_bytes=data, blobs=blobs,
        agent=agent, packages=packages, work=path,
    )  # fmt: skip


def enrolled(fleet: Fleet, base: Path) -> Board:
    """A new board in `base/board`."""
    return Board(base / "board", fleet, fleet.blobs.folder.parent / "placed")


def bare(fleet: Fleet, base: Path) -> Board:
    """A board that was never enrolled: an inbox with the fleet's runtime, and what the installer is to be told."""
    root = base / "board"
    for name in ("inbox/metadata", "inbox/targets", "inbox/blobs", "objects"):
        (root / name).mkdir(parents=True)
    (root / "serial").write_text("simulated-1")
    config = BoardConfig(
        fleet=fleet.folder.config.fleet, device=DEVICE, serial="simulated-1", profile=PROFILE,
        service=SERVICE_SUPERVISOR, port=0,
    )  # fmt: skip
    request = InstallRequest(
        config=config,
        runtime=decode(RuntimeManifest, fleet.runtime_bytes),
        runtime_digest=fleet.runtime,
        root_metadata=(fleet.folder.repository / "metadata/1.root.json").read_text(),
        user=getpass.getuser(),
    )
    (fleet.work / INSTALL).write_bytes(encode(request))
    for one in (fleet.runtime, fleet.agent.sha256, fleet.packages.sha256):
        shutil.copy(fleet.blobs.folder / "blobs" / one, root / "inbox/blobs" / one)
    return found(fleet, base)


def found(fleet: Fleet, base: Path) -> Board:
    """The board that lies in `base/board`."""
    board = object.__new__(Board)
    board.__dict__.update(root=base / "board", fleet=fleet, supervisor=None, more_environment={})
    return board
