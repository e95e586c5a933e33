"""Other users of a board, the agent's own among them: what they can't read, write, hold, start or lead astray."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.config import BoardFolder
from agent.contract.board import BoardConfig
from agent.contract.codec import encode
from agent.install import ownership
from agent.install.ownership import give_folders
from agent.processes import end_launched
from agent.supervisor import Supervisor
from agent.update import asking, commands
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.probation import look, served_generation
from edge.fleet.onboard import script
from tests.attacks.strangers import AGENT, NOBODY, PUSHER, ask, meanwhile, needs_root, open_folder
from tests.update.world import DEVICE, Board, Fleet

pytestmark = needs_root


class Quiet:
    """Nobody runs an agent on these boards."""

    def reload(self) -> None: ...
    def restart(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Install:
    """An enrolled board's folder, in a place that others may enter."""

    root: Path

    @property
    def folder(self) -> UpdateFolder:
        return UpdateFolder(self.root)


@pytest.fixture(scope="module")
def own(made_once: Fleet) -> Iterator[Install]:
    """As without root: all is one user's."""
    with open_folder() as place, pytest.MonkeyPatch.context() as patch:
        board = Board(place / "board", made_once, made_once.work / "placed")
        patch.setenv("EDGE_SIM", "1")
        patch.setenv("EDGE_SIM_SERIAL_FILE", str(board.root / "serial"))
        (board.root / "state/tuf").rmdir()
        give_folders(UpdateFolder(board.root), pusher=None)
        DISK.make_folder(board.root / "state/tuf", mode=0o700)  # as enrolment makes it
        commands.recover(board.root, service=Quiet())
        (board.root / "outbox/outbox.sqlite").touch(0o644)
        yield Install(board.root)


@pytest.fixture(scope="module")
def system(own: Install) -> Iterator[Install]:
    """As with root: `run` and `outbox` are the agent's, `inbox` and `link` the pusher's."""
    owners = {"run": AGENT, "outbox": AGENT, "inbox": PUSHER, "link": PUSHER}
    for name, user in owners.items():
        os.chown(own.root / name, user, user)
    (own.root / "inbox").chmod(0o700)
    yield own
    for name in owners:
        os.chown(own.root / name, 0, 0)


WALK = """
import fcntl, json, os, sys
root = sys.argv[1]
found = {"read": [], "written": [], "locked": [], "entered": []}
for folder, _, names in os.walk(root):
    short = os.path.relpath(folder, root)
    found["entered"].append(short)
    try:
        os.mkdir(os.path.join(folder, "mine"))
        os.rmdir(os.path.join(folder, "mine"))
        found["written"].append(short)
    except OSError:
        pass
    for name in names:
        path, short = os.path.join(folder, name), os.path.relpath(os.path.join(folder, name), root)
        try:
            with open(path, "rb") as file:
                file.read(1)
                found["read"].append(short)
                if "lock" in name and not short.startswith("objects"):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    found["locked"].append(short)
        except OSError:
            pass
        try:
            os.close(os.open(path, os.O_WRONLY))
            found["written"].append(short)
        except OSError:
            pass
for name in ("state/resume", "state/lock", "run/agent.json", "run/supervisor.json", "inbox/request", "current",
             "inbox/blobs/x", "link/link.json", "outbox/x", "state/device.key", "mqtt.key", "install.lock"):
    try:
        os.close(os.open(os.path.join(root, name), os.O_WRONLY | os.O_CREAT))
        found["written"].append(name)
    except OSError:
        pass
print(json.dumps(found))
"""


def test_another_user_reads_no_key_writes_nothing_and_holds_no_lock(own: Install) -> None:
    found = ask(WALK, own.root, user=NOBODY)
    assert found["written"] == found["locked"] == []
    secret = {"state/device.key", "mqtt.key", "state/update.json", "state/lock", "outbox/outbox.sqlite"}
    assert [name for name in secret if not (own.root / name).is_file()] == []
    assert not secret & set(found["read"])
    assert not [name for name in found["entered"] if name.startswith(("state/tuf", "outbox"))]
    assert {"state/reported.json", "state/device.pub", "mqtt.pub", "board.json"} <= set(found["read"]) | {
        "state/reported.json", "state/device.pub"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        (NOBODY, ()),
        (AGENT, ("run", "outbox")),
        (PUSHER, ("inbox", "link")),
    ],
    ids=["nobody", "the agent", "the pushing user"],
)
def test_with_root_each_user_writes_what_is_his_alone(
    system: Install, user: int, allowed: tuple[str, ...]
) -> None:
    found = ask(WALK, system.root, user=user)
    assert {name.partition("/")[0] for name in found["written"]} <= set(allowed)
    assert found["locked"] == []
    assert not {"state/device.key", "mqtt.key", "state/update.json"} & set(found["read"])


# --- what the agent's user may lay into `run/` ---------------------------------------------------------------------

RUNNING = {"pid": 1, "boot": "0" * 16, "generation": 1, "port": 1, "started": 1.0, "ready": True}


def laid(path: Path, what: str) -> None:
    """Lay something at `path` in place of a document."""
    path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    elif what in ("/dev/zero", "/etc/shadow"):
        path.symlink_to(what)
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 36)
    else:
        path.write_text({"deep": "[" * 200_000, "no text": "\\ud800", "port": json.dumps(RUNNING | {"port": 10**30}),
                         "negative": json.dumps(RUNNING | {"port": -1, "pid": -1}),
                         "pid": json.dumps(RUNNING | {"pid": 10**40, "started": 1e308})}[what])  # fmt: skip


LAID = ("pipe", "/dev/zero", "/etc/shadow", "huge", "deep", "no text", "port", "negative", "pid")


@pytest.mark.parametrize("what", LAID)
def test_what_the_agents_user_lays_into_its_folder_holds_no_update_up(system: Install, what: str) -> None:
    path = system.folder.running
    laid(path, what)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK) if what == "pipe" else None
    began = time.monotonic()
    try:
        config = BoardConfig(fleet="f-000000", device=DEVICE, serial="s", profile="p", service="systemd")
        seen = look(system.folder, config, 1)
        assert seen.reason
        assert "root:" not in seen.reason
        served_generation(system.folder)
        end_launched(system.folder.running, system.folder.launcher, patience_s=5.0)
        assert time.monotonic() - began < 2
    finally:
        if writer is not None:
            os.close(writer)
        path.unlink()


def test_an_answer_that_trickles_in_holds_no_update_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def trickle() -> None:
            link, _ = door.accept()
            with link, contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
                    link.sendall(bytes([byte]))
                    time.sleep(0.02)

        threading.Thread(target=trickle, daemon=True).start()
        began = time.monotonic()
        with pytest.raises((OSError, http.client.HTTPException)):
            asking.ask("127.0.0.1", door.getsockname()[1], "GET", "/", timeout_s=0.6)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("what", LAID)
def test_what_the_agents_user_lays_there_keeps_nobody_from_asking_the_board(
    system: Install, what: str
) -> None:
    for name in ("agent.json", "supervisor.json"):
        laid(system.root / "run" / name, what)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-I", "-c", script("status")], input=json.dumps({"root": str(system.root)}).encode() + b"\n",
        capture_output=True, timeout=20,
    )  # fmt: skip
    for name in ("agent.json", "supervisor.json"):
        (system.root / "run" / name).unlink()
    assert done.returncode == 0, done.stderr.decode()
    assert time.monotonic() - began < 5
    record = json.loads(done.stdout.removeprefix(b"\x1e"))
    assert what == "port" or not record["alive"]
    assert "root:" not in str(record)
    from edge.fleet.status import _status

    assert _status(record).config is not None


@pytest.fixture
def victim(system: Install) -> Iterator[subprocess.Popen[bytes]]:
    """A process of root's whose command names the launcher, as the update process's own does."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", system.folder.launcher])
    yield process
    process.kill()
    process.wait()


def test_root_ends_no_process_that_the_agents_user_points_at(
    system: Install, victim: subprocess.Popen[bytes]
) -> None:
    path = system.folder.running
    path.write_text(json.dumps(RUNNING | {"pid": victim.pid}))
    os.chown(path, AGENT, AGENT)
    try:
        end_launched(system.folder.running, system.folder.launcher, patience_s=5.0)
        assert victim.poll() is None
    finally:
        path.unlink()


# --- races with root ------------------------------------------------------------------------------------------------

SWAP_FOLDER = """
import contextlib, os, sys
folder, target = sys.argv[1:]
os.chdir(folder)
print("begun", flush=True)
acts = (lambda: os.rmdir(name + "/inner"), lambda: os.rmdir(name), lambda: os.symlink(target, name),
        lambda: os.unlink(name), lambda: os.link(os.path.join(target, "treasure"), name), lambda: os.unlink(name),
        lambda: os.mkdir(name), lambda: os.mkdir(name + "/inner"))
while True:
    for name in ("metadata", "targets", "blobs", "deep"):
        for act in acts:
            with contextlib.suppress(OSError):
                act()
"""


@pytest.fixture
def treasure() -> Iterator[Path]:
    """A folder of root's that no attack may touch."""
    with open_folder() as place:
        (place / "treasure").write_text("mine")
        yield place
        found = (place / "treasure").stat()
        assert (place / "treasure").read_text() == "mine"
        assert (found.st_uid, stat.S_IMODE(found.st_mode) & 0o022, place.stat().st_uid) == (0, 0, 0)


def test_a_tree_that_somebody_else_owns_is_removed_without_leaving_it(treasure: Path) -> None:
    with open_folder() as place:
        rounds = 0
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            tree = place / "inbox"
            tree.mkdir()
            os.chown(tree, PUSHER, PUSHER)
            with meanwhile(SWAP_FOLDER, tree, treasure, user=PUSHER):
                time.sleep(0.01)
                DISK.remove_tree(tree)
            assert list(place.iterdir()) == []
            rounds += 1
        assert rounds > 3


@pytest.mark.parametrize("way", ["the installer", "staging"])
def test_folders_are_given_to_the_pushing_user_and_nothing_else_is(
    treasure: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    users: dict[str, Any] = {"pi": PUSHER, "edge": AGENT}

    def getpwnam(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", users[name], users[name], "", "/", "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    staging: dict[str, Any] = {"__name__": "stage"}
    exec(script("stage"), staging)
    with open_folder() as place:
        folder = UpdateFolder(place / "edge")
        give_folders(folder, pusher="pi")
        rounds = refused = 0
        with meanwhile(SWAP_FOLDER, folder.inbox, treasure, user=PUSHER):
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                try:
                    if way == "staging":
                        staging["main"]({"root": str(folder.root), "user": "pi"})
                    else:
                        give_folders(folder, pusher="pi")
                except SystemExit:
                    refused += 1
                rounds += 1
        assert rounds > 20
        assert bool(refused) == (way == "staging"), "the installer looks at nothing inside of the inbox"
        assert stat.S_IMODE(folder.inbox.stat().st_mode) == 0o700


def test_a_folder_that_somebody_else_made_is_not_taken_for_roots(tmp_path: Path) -> None:
    for name in ("state", "objects", "generations", "bin"):
        folder = UpdateFolder(tmp_path / name)
        (folder.root / name).mkdir(parents=True)
        os.chown(folder.root / name, NOBODY, NOBODY)
        with pytest.raises(ownership.InstallFailed, match="belongs to another user"):
            give_folders(folder, pusher=None)


def test_the_supervisor_ends_only_an_agent_of_its_own_user(
    system: Install, victim: subprocess.Popen[bytes]
) -> None:
    path = BoardFolder(system.root).running
    path.write_bytes(encode(_running(victim.pid)))
    os.chown(path, AGENT, AGENT)
    try:
        Supervisor(system.root)._end_orphan()
        assert victim.poll() is None
    finally:
        path.unlink()


def _running(pid: int) -> Any:
    from agent.contract.board import RunningAgent

    return RunningAgent(**(RUNNING | {"pid": pid}))
