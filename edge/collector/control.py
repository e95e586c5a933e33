"""The collector's control socket: a line of JSON in, a line of JSON out.

The rule: only this user reaches it, a caller that says nothing is not waited for, and nothing that is said there can
end the collector but the word for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LONGEST_BYTES = 64 * 1024
PATIENCE_S = 5.0
PREFIX = "edge-collect-"

log = logging.getLogger(__name__)

Answers = Mapping[str, Callable[[dict[str, Any]], Any]]
"""What can be asked for: the word in `do`, and what gives the JSON-ready answer."""


def clear(path: Path) -> None:
    """Take away the socket of a collector that was killed, and its folder; one that answers is another folder's."""
    if path.parent.name.startswith(PREFIX) and ask(path, {"do": "ping"}) is None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


class Control:
    """A listening Unix socket with a thread. A context manager.

    Attributes:
        path: of the socket; in a folder of its own, since a socket's path must be short.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._closed = False
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
        self.path = self._folder / "control"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, name="edge-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more; nothing of it is left."""
        self._closed = True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:  # wakes `accept`
            knock.connect(str(self.path))
        with contextlib.suppress(OSError):  # where the socket's name is gone, this does, on Linux
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def reachable(self) -> bool:
        """Whether callers find it: whoever tidies the temporary folder may have taken the socket away."""
        return self._thread.is_alive() and self.path.is_socket()

    def _serve(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed, or beyond repair: `reachable` says so
            with caller, contextlib.suppress(OSError):
                caller.settimeout(PATIENCE_S)
                caller.sendall(self._answer(_line(caller)) + b"\n")

    def _answer(self, line: bytes) -> bytes:
        try:
            asked = json.loads(line)
            answer = self._answers[asked["do"]]
        except (ValueError, KeyError, TypeError) as error:
            return _failure(error)
        try:
            return json.dumps(answer(asked)).encode()
        except Exception as error:  # whatever it is, the caller hears of it and the collector goes on
            log.exception("`%s` failed", asked["do"])
            return _failure(error)


def ask(
    path: Path | str, request: Mapping[str, Any], *, timeout_s: float = PATIENCE_S
) -> dict[str, Any] | None:
    """The answer of the collector that listens at `path`, or None where none does."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout_s)
        try:
            link.connect(str(path))
            link.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(link.makefile("rb").readline())
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None


def _failure(error: Exception) -> bytes:
    return json.dumps({"error": f"{type(error).__name__}: {error}"}).encode()


def _line(caller: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"\n") and len(read) < LONGEST_BYTES:
        data = caller.recv(LONGEST_BYTES)
        if not data:
            break
        read += data
    return read
