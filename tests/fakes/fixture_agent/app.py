"""Serving, as small as it can be: the same `run/agent.json`, health, requests and SIGHUP as the real agent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.config import BoardFolder, generation_to_serve, read_config, read_generation
from agent.contract.board import RunningAgent
from agent.contract.codec import encode

CONNECTS = True
"""Whether an agent that is to be connected to its collector is it."""
LISTEN_FD = "EDGE_LISTEN_FD"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    ready = True
    answers = 200
    serving: Any = None
    telemetry: Any = None
    hangs_at = float("inf")
    pulse_at = 0.0

    def service_actions(self) -> None:
        """In each turn of the one loop."""
        if time.monotonic() >= self.hangs_at:
            time.sleep(600)
        if time.monotonic() >= self.pulse_at:
            self.pulse_at = time.monotonic() + int(os.environ.get("WATCHDOG_USEC", "600000000")) / 2e6
            _notify(b"WATCHDOG=1")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/v2/health/ready":
            self._answer(200 if self.server.ready else 503, {})
        elif self.path == "/edge/v1/status" and self.server.telemetry is not None:
            self._answer(200, {"telemetry": self.server.telemetry})
        else:
            self._answer(200, self.server.serving)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(self.server.answers, self.server.serving)

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(root: Path, *, generation: int | None = None) -> int:
    board = BoardFolder(root)
    config = read_config(board)
    found = generation_to_serve(board, generation)
    behaviours, number, releases = set(), 0, []
    if found is not None:
        document = read_generation(found)
        number, releases = document.number, [model.release for model in document.models]
        for model in document.models:
            behaviours |= set((board.object(model.bundle) / "model.tflite").read_text().split())
    if "dies" in behaviours:
        sys.stderr.write("error: this model kills its agent\n")
        return 9
    if "hangs" in behaviours:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    listening = _listen(config.address, config.port)
    server = Server((config.address, 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.ready = "unready" not in behaviours
    if "connected" in behaviours:
        server.telemetry = {"connected": CONNECTS}
    server.answers = 500 if "answers-wrongly" in behaviours else 200
    server.serving = {"generation": number, "releases": releases, "pid": os.getpid()}
    again = threading.Event()
    for number_of_signal, repeats in ((signal.SIGHUP, True), (signal.SIGTERM, False)):
        signal.signal(number_of_signal, lambda *_, r=repeats: _stop(server, again, r))
    running = RunningAgent(
        pid=os.getpid(), boot=os.urandom(8).hex(), generation=number, port=listening.getsockname()[1],
        started=time.time(), ready=server.ready,
    )  # fmt: skip
    new = board.running.with_suffix(".new")
    new.write_bytes(encode(running))
    new.replace(board.running)
    if "hangs-later" in behaviours:
        server.hangs_at = time.monotonic() + 0.5
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "dies-later" in behaviours:
        threading.Timer(0.5, os._exit, (9,)).start()
    server.serve_forever(poll_interval=0.02)
    if again.is_set():
        os.set_inheritable(listening.fileno(), True)
        os.environ[LISTEN_FD] = str(listening.fileno())
        os.execv(sys.executable, [sys.executable, "-I", str(board.launcher), "--root", str(root), "run"])
    return 0


def _notify(word: bytes) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(word, address.replace("@", "\0"))


def _stop(server: Server, again: threading.Event, repeats: bool) -> None:
    if repeats:
        again.set()
    threading.Thread(target=server.shutdown).start()


def _listen(address: str, port: int) -> socket.socket:
    inherited = os.environ.pop(LISTEN_FD, "")
    if inherited:
        handed = socket.socket(fileno=int(inherited))
        handed.set_inheritable(False)
        return handed
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, port))
    listening.listen(64)
    return listening
