"""The agent that is installed here becomes a layer.

The rule: boards get the package `agent` that this host works with, whether it was installed from a wheel or is
being edited. Its zip runs by itself: `python3 -I <layer>.zip install …` needs nothing but the standard library.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from agent.contract.errors import PlatformUnsupported
from edge.runtimes.layer import Packed, pack_files

DISTRIBUTION = "edge-agent"
ENTRY = b"""\
import sys

from agent.__main__ import main

sys.exit(main())
"""
_LEFT_OUT = frozenset(["__pycache__", "build", "dist", "tests"])


def agent_folder() -> Path:
    """The folder of the installed package `agent`; it is found, not imported.

    Raises:
        PlatformUnsupported: it is not there as a folder.
    """
    spec = importlib.util.find_spec("agent")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders or not Path(folders[0]).is_dir():
        raise PlatformUnsupported(
            platform="any board",
            reason="the package `agent` is not installed as a folder",
            way_out="install edge with pip",
        )
    return Path(folders[0])


def agent_version() -> str:
    """Of the installed distribution."""
    return importlib.metadata.version(DISTRIBUTION)


def pack_agent(cache: Path) -> Packed:
    """The layer `edge-agent`."""
    folder = agent_folder()
    files = {"__main__.py": ENTRY}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if (path.suffix == ".py" or path.name == "py.typed") and not _LEFT_OUT.intersection(relative.parts):
            files[f"agent/{relative.as_posix()}"] = path.read_bytes()
    return pack_files(DISTRIBUTION, agent_version(), files, cache)
