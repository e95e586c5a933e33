"""Carry out one operation on copies of a fleet folder, killed before each of its file operations in turn.

    python -m tests.repository.cut FLEET WORK OPERATION STRIDE

leaves WORK/<point> for every STRIDE-th point, and prints the last one. A process of its own, because it forks.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from edge.config import FleetFolder
from edge.identity import KeyRing, keyfile
from edge.repository import Repository, Trust
from tests.repository.fleet import desired, make_bundle, make_runtime, passphrase

CHANGES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.chmod"}


def operations(folder: FleetFolder, keys: KeyRing, work: Path) -> dict[str, Callable[[], object]]:
    def repository() -> Repository:
        return Repository(folder.repository, keys, passphrase)

    def assign() -> None:
        last = repository().desired("b-1")
        assert last
        state = desired(folder.config.fleet, "b-1", 2, last.generation.runtime, list(repository().releases()))
        repository().assign(state)

    def own_keys() -> KeyRing:
        own = KeyRing(folder.keys)
        own._open.update(keys._open)
        return own

    def rotate(*roles: str) -> None:
        Trust(folder.repository, own_keys(), passphrase).rotate(*roles)

    def rotate_what_is_lost(*roles: str) -> None:
        for role in roles:
            (folder.keys / f"{role}.key").unlink(missing_ok=True)
        own = KeyRing(folder.keys)
        own._open.update({own.public_key("root").keyid: keys._open[own.public_key("root").keyid]})
        Trust(folder.repository, own, passphrase).rotate(*roles)

    return {
        "rotate-root": lambda: rotate("root"),
        "rotate-timestamp": lambda: rotate("timestamp"),
        "rotate-all": lambda: rotate("root", "targets", "desired", "snapshot", "timestamp"),
        "rotate-lost": lambda: rotate_what_is_lost("targets", "timestamp"),
        "create": lambda: Repository.create(folder.path / "second", keys, passphrase),
        "publish": lambda: repository().publish("digits", [make_bundle(work / "bundle", weights=b"new")]),
        "add-runtime": lambda: repository().add_runtime(*make_runtime(work / "runtime", b"new")),
        "assign": assign,
        "refresh": lambda: repository().refresh(force=True),
        "push-set": lambda: repository().push_set("b-1"),
    }


def kill_before(point: int, inside: Path) -> None:
    """From now on, count what changes files inside a folder; the `point`-th change does not happen."""
    done = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        opened = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (opened or event in CHANGES) and str(arguments[0]).startswith(str(inside)):
            done += 1
            if done == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main(fleet: Path, work: Path, operation: str, stride: int) -> int:
    """Returns the last point that was reached."""
    keys = KeyRing(fleet / "keys")
    keys.signer("root", passphrase)
    keys.signer("targets", passphrase)
    keyfile.KDF_ROUNDS = 1
    for point in range(1, 1000, stride):
        folder = work / str(point)
        shutil.copytree(fleet, folder)
        child = os.fork()
        if child == 0:
            act = operations(FleetFolder.open(folder), keys, work / f"work-{point}")[operation]
            kill_before(point, folder)
            act()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return point - stride
        assert os.WIFSIGNALED(status), f"point {point}: {status}"
    raise AssertionError("it has no end")


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
