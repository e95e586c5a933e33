"""Writes what lies on boards and in fleet folders as this version makes it, by the real parts of it.

    python -m tests.formats.write VERSION     # tests/data/formats/vVERSION, which must not be there yet

What was written once is never written again: see tests/data/formats/README.md. No private key is kept.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from agent.contract.release import Budgets
from tests.repository import fleet as small
from tests.update import world

FORMATS = Path(__file__).resolve().parents[1] / "data" / "formats"
DEVICE = "d-0123456789"
BOARD_FILES = (
    "board.json", "generations/1/generation.json", "state/update.json", "state/reported.json", "state/device.pub",
)  # fmt: skip


def write_repository(destination: Path, work: Path) -> None:
    """A fleet folder with a release, a runtime and one desired state; what is pushed of it; and its bundle."""
    fleet = small.make_fleet(work)
    fleet.repository.assign(fleet.desired(DEVICE))
    push = fleet.repository.push_set(DEVICE)
    for part, files in (("metadata", push.metadata), ("targets", push.targets), ("blobs", push.blobs)):
        for name, source in files.items():
            _copy(source, destination / "inbox" / part / name)
    for source in sorted(fleet.folder.path.rglob("*")):
        inside = source.relative_to(fleet.folder.path)
        secret = inside.parts[0] == "keys" and source.suffix != ".pub"
        if (
            source.is_file()
            and not secret
            and "outbox" not in inside.parts
            and not source.name.startswith(".")
        ):
            _copy(source, destination / "fleet" / inside)
    shutil.copytree(work / "bundle", destination / "bundle")
    facts = {
        "at": int(time.time()),
        "fleet": fleet.folder.config.fleet,
        "device": DEVICE,
        "runtime": fleet.runtime,
    }
    (destination / "written.json").write_text(json.dumps(facts, indent=2) + "\n")


def write_board(destination: Path, work: Path) -> None:
    """A board's own files, after a flash and an update that was refused."""
    fleet = world.make_fleet(work)
    board = world.Board(work / "board", fleet, work / "placed")
    board.supervise()
    try:
        board.flash(1, fleet.publish("good"))
        board.flash(2, fleet.publish("slow", budgets=Budgets(p95_ms=20.0)))
    finally:
        board.stop()
    for name in BOARD_FILES:
        _copy(board.root / name, destination / "board" / name)
    shutil.copytree(board.root / "state" / "tuf", destination / "board" / "state" / "tuf", symlinks=True)
    _copy(board.root / "root.json", destination / "board" / "root.json")


def main(arguments: list[str]) -> int:
    """Write a version that is not there yet."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        print(__doc__)
        return 2
    destination = FORMATS / f"v{arguments[0]}"
    if destination.exists():
        print(f"{destination} is there: what was written once is never written again")
        return 1
    with tempfile.TemporaryDirectory() as work:
        write_repository(destination, Path(work) / "repository")
        write_board(destination, Path(work) / "board")
    print(f"wrote {destination}")
    return 0


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
