"""Runs on the board, as root: waits until no update is at work, then prints what lies there, hashed anew, as JSON.

Layers beside the agent's are hashed with the argument `all` only: it takes the emulator a minute. The file goes there
through SSH's standard input, so it is standard library only.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path("/opt/edge")
WAIT_S = 1500
ENDS = ("confirmed", "finalised", "refused", "rolled-back", "inconsistent")
CALLS = ("inbox/request", "inbox/request.taken", "state/resume")
UNITS = ("edge-recover.service", "edge-update.service")
UNITS_OF_LOG = ("-u", "edge-update", "-u", "edge-recover", "-u", "edge-agent")
DIGEST_LENGTH = 64


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def record() -> dict[str, Any]:
    return dict(json.loads((ROOT / "state/update.json").read_bytes()))


def busy() -> bool:
    if any(os.path.lexists(ROOT / name) for name in CALLS) or record()["state"] not in ENDS:
        return True
    return "activating" in run("systemctl", "show", "-P", "ActiveState", *UNITS)


def wait() -> bool:
    end = time.monotonic() + WAIT_S
    while busy():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> str:
    """One digest of all that a layer holds, without what this board compiled."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_file():
            if path.suffix == ".pyc":
                assert path.stat().st_size > 16, path
                continue
            found.append(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n")
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()


def objects() -> dict[str, Any]:
    """Of each object: the digest of its manifest and of each file, or of its tree where it is a layer."""
    found: dict[str, Any] = {}
    for folder in sorted((ROOT / "objects").iterdir()):
        if len(folder.name) != DIGEST_LENGTH:
            continue
        if (folder / "manifest.json").is_file():
            files = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*")}
            found[folder.name] = {"files": files}
        elif (folder / "agent").is_dir() or "all" in sys.argv:
            found[folder.name] = {"tree": tree(folder)}
        else:
            found[folder.name] = {}
    return found


def generations() -> dict[str, Any]:
    folders = [entry for entry in (ROOT / "generations").iterdir() if entry.name.isdigit()]
    return {entry.name: json.loads((entry / "generation.json").read_bytes()) for entry in folders}


def linked(name: str) -> int:
    path = ROOT / name
    return int(path.readlink().name) if path.is_symlink() else 0


def main() -> None:
    settled = wait()
    waited_until = time.time()
    kept = record()
    print(
        json.dumps(
            {
                "settled": settled,
                "settled_at": waited_until,
                "record": {
                    name: kept.get(name) for name in ("state", "counter", "attempts", "current", "previous")
                },
                "reported": (ROOT / "state/reported.json").read_text(),
                "code": kept.get("code"),
                "message": kept.get("message"),
                "current": linked("current"),
                "trial": linked("trial"),
                "leftovers": sorted(str(path) for path in ROOT.rglob(".new-*")),
                "generations": generations(),
                "objects": objects(),
                "failed": run("systemctl", "--failed", "--no-legend", "--plain").split("\n")[0],
                "kernel": [line for line in run("dmesg").splitlines() if "EXT4-fs error" in line],
                "log": run("journalctl", "-b", "-o", "cat", *UNITS_OF_LOG).splitlines()[-30:],
            }
        )
    )


main()
