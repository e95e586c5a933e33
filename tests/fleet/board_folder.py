"""A board's folder whose runtime is this environment: the real launcher, agent and engine, without composing a runtime.

What a measurement or a load test needs of a board is there; nothing is enrolled, and nothing serves.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sysconfig
from pathlib import Path

from agent.contract.codec import digest, encode
from agent.contract.manifest import EngineName
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from edge.runtimes.agent_layer import agent_folder
from edge.runtimes.lockfile import ENGINE_PACKAGES

PLACES = {"edge-agent": agent_folder().parent, "packages": Path(sysconfig.get_paths()["purelib"])}


def make_board_folder(root: Path, engine: EngineName) -> RuntimeManifest:
    """Lay the folder out at `root`; the runtime that is in it."""
    layers = [
        Layer(name=name, version="0", sha256=digest(name.encode()), size_bytes=0, unpacked_bytes=0)
        for name in PLACES
    ]
    runtime = RuntimeManifest(
        platform=Platform(
            architecture=platform.machine(),
            python=".".join(platform.python_version_tuple()[:2]),
            glibc=platform.libc_ver()[1],
        ),
        engine=engine,
        engine_version=importlib.metadata.version(ENGINE_PACKAGES[engine]),
        agent_version="0",
        contracts=(1,),
        layers=tuple(layers),
    )
    data = encode(runtime)
    for folder in ("bin", "generations", "inbox", f"objects/{digest(data)}"):
        (root / folder).mkdir(parents=True)
    (root / "bin/launch.py").write_bytes((agent_folder() / "launch.py").read_bytes())
    (root / "bootstrap").write_text(f"{digest(data)}\n")
    (root / f"objects/{digest(data)}/manifest.json").write_bytes(data)
    for layer in layers:
        (root / "objects" / layer.sha256).symlink_to(PLACES[layer.name])
    return runtime


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that is below a folder: modes, and bytes of files and links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = b""
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, content)
    return found
