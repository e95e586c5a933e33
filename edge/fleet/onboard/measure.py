"""On the board: run a bundle's artifact with the board's own runtime, tell what that took, and leave nothing behind.

What comes in over standard input, after the request, is the bundle's files and then parts of the inputs, one behind
the other. All of it lies in one folder below the temporary folder, and goes with this process however that ends: done,
failed, interrupted, or because nobody holds the other end any more. What only a kill or a power cut leaves, the next
run removes.

What serves goes first: one run at a time, none while an update is tried or works, at a low priority, first in line
when memory runs out, and not at all where too little is free.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

PREFIX = "edge-measure-"
OLD_S = 60.0
"""A folder that nobody holds is left over when it is older than this: a younger one may be about to be held."""
CHUNK = 256 * 1024
LINE = 48 * 1024
LOOK_S = 0.1
BEAT_S = 2.0
NICE = 10
"""With this priority the engine gets a tenth of what a busy agent gets, and all that it leaves."""
RESERVE = 32 << 20
"""So many bytes of memory stay free."""
HUNG_UP = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
WORDS = 4000
ENDING = (signal.SIGALRM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Refused(Exception):
    """It is not to be run now. The words: which of `busy`, `trial`, `memory`, `disk`."""


def say(**record: Any) -> None:
    sys.stdout.write("\x1e" + json.dumps(record) + "\n")
    sys.stdout.flush()


def read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            plain = json.load(file)
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def runtime(root: str) -> dict[str, Any]:
    """The manifest of the runtime that `launch.py` takes: that of `current`, else the one of the enrolment."""
    digest = read_json(os.path.join(root, "current", "generation.json")).get("runtime")
    if digest is None:
        with contextlib.suppress(OSError), open(os.path.join(root, "bootstrap")) as file:
            digest = file.read(100).strip()
    return read_json(os.path.join(root, "objects", str(digest), "manifest.json"))


def available() -> int | None:
    """Memory that can be given without swapping, in bytes; None where the kernel does not tell."""
    try:
        with open("/proc/meminfo") as file:
            found = [line.split()[1] for line in file if line.startswith("MemAvailable:")]
    except OSError:
        return None
    return int(found[0]) * 1024 if found else None


def is_updated(root: str) -> bool:
    """Whether a generation is tried, or the update process has something to do."""
    names = ("trial", "inbox/request", "inbox/request.taken")
    return any(os.path.lexists(os.path.join(root, name)) for name in names)


def look(root: str) -> dict[str, Any]:
    found = runtime(root)
    free = os.statvfs(tempfile.gettempdir())
    return {
        "there": os.path.exists(os.path.join(root, "bin", "launch.py")),
        "engine": found.get("engine"),
        "version": found.get("engine_version"),
        "platform": found.get("platform"),
        "available": available(),
        "disk": free.f_bavail * free.f_frsize,
        "folder": tempfile.gettempdir(),
        "updated": is_updated(root),
    }


def remove_left() -> None:
    """Take away what runs left that were killed: folders of this user that nobody holds."""
    above = tempfile.gettempdir()
    for name in os.listdir(above):
        path = os.path.join(above, name)
        if not name.startswith(PREFIX) or os.path.islink(path):
            continue
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < OLD_S:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(handle)


@contextlib.contextmanager
def held(path: str) -> Iterator[None]:
    """Be the only one who holds a file or folder; the kernel lets it go with this process. Nothing is written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused("busy") from None
        yield
    finally:
        os.close(handle)


class Source:
    """The bytes that come in; where none come in `silence_s`, the laptop is gone without a word."""

    def __init__(self, file: BinaryIO, silence_s: float) -> None:
        self.file, self.silence_s = file, silence_s

    def save(self, path: str, size: int) -> None:
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "wb") as to:
            while size > 0:
                signal.setitimer(signal.ITIMER_REAL, self.silence_s)
                chunk = self.file.read1(min(size, CHUNK))  # type: ignore[attr-defined]
                signal.setitimer(signal.ITIMER_REAL, 0)
                if not chunk:
                    raise EOFError
                to.write(chunk)
                size -= len(chunk)
        say(came=os.path.basename(path))


def text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(8 << 20)


def humble() -> None:
    """In the engine's process: what serves goes first, memory is taken from here first, and it ends with us."""
    os.nice(max(0, NICE - os.nice(0)))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def attended(command: list[str], root: str, folder: str, longest_s: float) -> dict[str, Any]:
    """Run a command of the agent while somebody waits for it and nothing else needs the board.

    Raises: EOFError: nobody waits any more. Refused: an update began, or memory runs short.
    """
    hung_up = select.poll()
    hung_up.register(0, HUNG_UP)
    texts = [os.path.join(folder, name) for name in ("stdout", "stderr")]
    with open(texts[0], "wb") as out, open(texts[1], "wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=humble, cwd=folder
        )
    try:
        beat = began = time.monotonic()
        while process.poll() is None:
            if hung_up.poll(1000 * LOOK_S):
                raise EOFError
            if is_updated(root):
                raise Refused("trial")
            free = available()
            if free is not None and free < RESERVE:
                raise Refused("memory")
            now = time.monotonic()
            if now - began > longest_s:
                process.kill()
            if now - beat > BEAT_S:
                say()
                beat = now
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return {"status": process.returncode, "stdout": text(texts[0]), "stderr": text(texts[1])[-WORDS:]}


def tell_file(part: int, path: str) -> None:
    """A file's bytes, packed, as lines."""
    with open(path, "rb") as file:
        packed = zlib.compress(file.read(), 1)
    for start in range(0, len(packed), LINE):
        say(part=part, data=base64.b64encode(packed[start : start + LINE]).decode())


def run(request: dict[str, Any], source: Source, folder: str) -> None:
    """All of a run but what must happen however it ends."""
    root = request["root"]
    bundle, given, answered = (os.path.join(folder, name) for name in ("bundle", "inputs.npz", "outputs.npz"))
    agent = [sys.executable, "-I", os.path.join(root, "bin", "launch.py")]
    for name, size in request["files"]:
        source.save(os.path.join(bundle, name), size)
    for part, size in enumerate(request["parts"]):
        source.save(given, size)
        arguments = ["measure", "--json", "--bundle", bundle, "--inputs", given, "--outputs", answered]
        ended = attended([*agent, *arguments], root, folder, request["longest_s"])
        say(did="measure", **ended)
        if ended["status"] != 0:
            return
        tell_file(part, answered)
    os.unlink(given)
    arguments = ["bench", "--json", "--way", "engine", "--bundle", bundle]
    arguments += ["--seconds", str(request["seconds"]), "--warm-up", str(request["warm_up_s"])]
    say(did="bench", **attended([*agent, *arguments], root, folder, request["longest_s"]))


def check(request: dict[str, Any], found: dict[str, Any]) -> None:
    if found["updated"]:
        raise Refused("trial")
    if found["available"] is not None and found["available"] - RESERVE < request["memory_bytes"]:
        raise Refused("memory")
    if found["disk"] < request["disk_bytes"]:
        raise Refused("disk")


def end(number: int, _: object) -> None:
    """A signal ends the run once; what comes after it must not keep the folder from going."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise EOFError


def main(request: dict[str, Any], stream: BinaryIO) -> int:
    os.umask(0o077)
    for number in ENDING:
        signal.signal(number, end)
    root = request["root"] = os.path.expanduser(request["root"])
    remove_left()
    found = look(root)
    say(board=found)
    if "files" not in request:
        return 0
    try:
        with held(os.path.join(root, "bin", "launch.py")):
            check(request, found)
            with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, held(folder):
                run(request, Source(stream, request["silence_s"]), folder)
    except Refused as reason:
        say(refused=str(reason), available=available())
    except (EOFError, BrokenPipeError):
        return 3
    say(end=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer))
