"""`~/.ssh/config` with its `Include` lines followed, which paramiko passes over.

The rule: what is included stands where the line stood, and the block that the line was in goes on behind it, as in
OpenSSH. A file that can't be read is passed over, as there.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

import paramiko

SYSTEM = Path("/etc/ssh/ssh_config")
DEEPEST = 16
_BLOCK = re.compile(r"\s*(host|match)[\s=]", re.IGNORECASE)
_INCLUDE = re.compile(r"\s*include[\s=]+(?P<patterns>.+?)\s*\Z", re.IGNORECASE)


def read_ssh_config() -> paramiko.SSHConfig:
    """The user's configuration, then the system's; what stands first wins."""
    config = paramiko.SSHConfig()
    own = Path("~/.ssh").expanduser()
    for path, folder in ((own / "config", own), (SYSTEM, SYSTEM.parent)):
        config.parse(iter(_lines(path, folder, depth=0)))
    return config


def _lines(path: Path, folder: Path, *, depth: int) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    block = "Host *"
    for line in text.splitlines():
        if _BLOCK.match(line):
            block = line
        include = _INCLUDE.match(line)
        if include is None:
            yield line
        elif depth < DEEPEST:
            for name in _named(include["patterns"], folder):
                yield from _lines(Path(name), folder, depth=depth + 1)
                yield block


def _named(patterns: str, folder: Path) -> list[str]:
    """Files that an `Include` line names, in its order; relative ones lie in `folder`."""
    names: list[str] = []
    for pattern in re.findall(r'"([^"]+)"|(\S+)', patterns):
        path = folder / Path("".join(pattern)).expanduser()
        names += sorted(glob.glob(str(path)))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return names
