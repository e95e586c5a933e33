"""The user's side of a journey: a fleet folder, and the installed `edge` command in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSPHRASE = "correct horse"
EDGE = str(Path(sys.executable).with_name("edge"))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    passed_s: float

    def __str__(self) -> str:
        return f"exit code {self.code} after {self.passed_s:.1f} s\n{self.out}\n{self.err}"

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Laptop:
    """A fleet folder and its user."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("EDGE_")},
            **{key: os.environ[key] for key in ("EDGE_CACHE",) if key in os.environ},
            "EDGE_KEY_PASSPHRASE": PASSPHRASE,
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.good(subprocess.run([EDGE, "init", str(folder)], env=self.environment, capture_output=True))
        self.settings(**{"probation_s": "1.0", "port": "0", **settings})

    @staticmethod
    def good(done: subprocess.CompletedProcess[bytes]) -> None:
        assert done.returncode == 0, done.stderr.decode()

    def settings(self, **values: str) -> None:
        """Change lines of `edge.toml`."""
        toml = self.folder / "edge.toml"
        lines = toml.read_text().splitlines()
        for key, value in values.items():
            place = next(n for n, line in enumerate(lines) if line.startswith(f"{key} ="))
            lines[place] = f"{key} = {value}"
        toml.write_text("\n".join(lines) + "\n")

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `edge ARGUMENTS` in the fleet folder, as from a terminal: in a process group of its own."""
        return subprocess.Popen(
            [EDGE, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def edge(self, *arguments: str, seconds: float = 100, **environment: str) -> Ended:
        """Run `edge ARGUMENTS` to its end."""
        began = time.monotonic()
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"edge {' '.join(arguments)} took over {seconds} s\n{out}\n{err}") from None
        return Ended(process.returncode, out, err, time.monotonic() - began)

    def does(self, *arguments: str, code: int = 0, seconds: float = 100, **environment: str) -> Ended:
        """Run `edge ARGUMENTS`, which must end with `code`."""
        ended = self.edge(*arguments, seconds=seconds, **environment)
        assert ended.code == code, f"edge {' '.join(arguments)}: {ended}"
        return ended

    def started(self, *arguments: str, until: str, seconds: float = 60, **environment: str) -> Started:
        """Start a command and wait until its talk holds `until`."""
        started = Started(self.start(*arguments, **environment))
        started.wait_for(until, seconds=seconds)
        return started

    def reported(self, device: str) -> dict[str, Any]:
        """The board's verified report."""
        plain: dict[str, Any] = self.does("device", "show", device, "--json").json["reported"]
        return plain

    def device(self, name: str) -> dict[str, Any]:
        """What the inventory holds."""
        plain: dict[str, Any] = json.loads((self.folder / "devices" / f"{name}.json").read_text())
        return plain


@dataclass
class Started:
    """A command that runs, and what it said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def err(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.err:
            ended = self.process.poll() is not None and not self._reader.is_alive()
            assert not ended, f"it ended with {self.process.returncode} before it said `{text}`:\n{self.err}"
            assert time.monotonic() < deadline, f"it did not say `{text}`:\n{self.err}"
            time.sleep(0.01)

    def interrupt(self) -> Ended:
        """Ctrl-C, as a terminal sends it: to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self, *, seconds: float = 100) -> Ended:
        """Wait for its end."""
        self.process.wait(timeout=seconds)
        self._reader.join(timeout=10)
        assert self.process.stdout is not None
        return Ended(self.process.returncode, self.process.stdout.read(), self.err, 0.0)


class Client:
    """Requests to an agent in a loop, each of which must be answered."""

    def __init__(self, port: int, inputs: list[float], *, tensor: str = "x") -> None:
        self.answered = 0
        self.failed: list[str] = []
        self.versions: list[str] = []
        body = {"inputs": [{"name": tensor, "shape": [1, len(inputs)], "datatype": "FP32", "data": inputs}]}
        self._body = json.dumps(body).encode()
        self._url = f"http://127.0.0.1:{port}/v2/models/digits/infer"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def ask(self) -> dict[str, Any]:
        request = urllib.request.Request(self._url, self._body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            plain: dict[str, Any] = json.load(reply)
            return plain

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                plain = self.ask()
                self.answered += 1
                if self.versions[-1:] != [plain["model_version"]]:
                    self.versions.append(plain["model_version"])
            except (OSError, ValueError, KeyError) as error:
                self.failed.append(repr(error))
            time.sleep(0.005)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=15)


def get(port: int, path: str) -> Any:
    """A JSON document of an agent."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        return json.load(reply)


@contextlib.contextmanager
def forwarded(laptop: Laptop, device: str, *, seconds: float = 60) -> Iterator[int]:
    """`edge forward`, for as long as the context lasts; ended as by Ctrl-C."""
    process = laptop.start("forward", device, "--print-port")
    started = Started(process)
    try:
        started.wait_for("end with Ctrl-C", seconds=seconds)
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        if process.poll() is None:
            assert started.interrupt().code == 0


def wait_until(true: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:
    """Wait for something that must become true; what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found
