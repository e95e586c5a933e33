"""The board of the power cuts: one SSH connection for all that is asked of it, and a port of its agent.

The rule: a cut is `kill -9`. Of the emulator, it loses the board's memory, and what its kernel had not written yet. The
drive (`cache=writeback`) takes writes at once and obeys flushes, and its own cache is this machine's, which lives on:
what a real drive loses of its cache, or writes in another order, is not modelled. Of a container, it ends every process
at once and loses nothing that was written: right for the order of steps, useless for what a drive holds.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.beds.board import BedBroken, free_port, greets, run, ssh_argv, tail
from tests.beds.qemu_board import QemuBoard
from tests.beds.systemd_container import SystemdContainer

AGENT_PORT = 8470
HERE = Path(__file__).parent
LOOK_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Bed:
    """A kind of board, with what its slowness asks for.

    Attributes:
        make: the board.
        profile: its device profile.
        settings: lines of `edge.toml`, in seconds.
        serves_s: from the power to the first right answer that is seen through SSH.
    """

    make: Callable[[str], QemuBoard | SystemdContainer]
    profile: str
    settings: Mapping[str, str]
    serves_s: float


EMULATED = Bed(
    make=QemuBoard,
    profile="emulated-arm64",
    settings={
        "probation_s": "8.0",
        "check_timeout_s": "900.0",
        "start_timeout_s": "600.0",
        "connect_timeout_s": "60.0",
    },
    serves_s=300.0,
)
CONTAINER = Bed(make=SystemdContainer, profile="linux-x86-64", settings={"probation_s": "3.0"}, serves_s=60.0)


class CutBoard:
    """A board that is cut from power and comes back. `port` leads to its agent while it is on."""

    def __init__(self, machine: QemuBoard | SystemdContainer) -> None:
        self._machine = machine
        self.port = free_port()
        self._master: subprocess.Popen[bytes] | None = None
        self._socket = machine.folder / "ssh"

    def connect(self, *, seconds: float = 600) -> None:
        """Have the one SSH connection, with the agent's port forwarded, as soon as the board lets anybody in."""
        deadline = time.monotonic() + seconds
        forward = f"127.0.0.1:{self.port}:127.0.0.1:{AGENT_PORT}"
        self._socket.unlink(missing_ok=True)
        while not self._socket.exists():
            if time.monotonic() > deadline:
                raise BedBroken(
                    f"no login on {self._machine.name} after {seconds:.0f} s: {tail(self._machine.log)}"
                )
            time.sleep(0.2)
            if self._master is not None and self._master.poll() is None:
                continue
            if greets(self._machine.board):  # a key exchange is dear there: ask only once sshd answers
                argv = self._ssh("-M", "-N", "-L", forward)
                self._master = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cut(self) -> None:
        """Take the power away."""
        self._machine.power_cut()
        self.disconnect()

    def disconnect(self) -> None:
        """End the SSH connection."""
        if self._master is not None:
            self._master.kill()
            self._master.wait(timeout=30)
            self._master = None

    def boot(self) -> float:
        """Switch it on. Seconds to the first login."""
        began = time.monotonic()
        self._machine.power_on()
        self.connect()
        return time.monotonic() - began

    def look(self, *, at_all: bool = False) -> dict[str, Any]:
        """What lies there when no update is at work any more; see `onboard_look`."""
        command = self._ssh(f"sudo python3 - {'all' if at_all else ''}")
        script = (HERE / "onboard_look.py").read_text()
        plain: dict[str, Any] = json.loads(run(command, stdin=script, timeout=LOOK_TIMEOUT_S))
        return plain

    def watch(self) -> Watch:
        """Where an update stands, from now until the power goes."""
        return Watch(subprocess.Popen(
            self._ssh("sudo python3 -u -"), stdin=(HERE / "onboard_watch.py").open("rb"),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ))  # fmt: skip

    def _ssh(self, *arguments: str) -> list[str]:
        """OpenSSH's command line, options before the address, a command behind it."""
        *before, address = ssh_argv(self._machine.board)
        options = [word for word in arguments if word.startswith("-") or arguments[0].startswith("-")]
        command = [word for word in arguments if word not in options]
        return [*before, "-S", str(self._socket), *options, address, *command]


class Watch:
    """What the board said of its update, with the times when it was heard (monotonic, seconds)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self._process = process
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self, *, seconds: float = 120) -> None:
        """Until it was heard for the first time."""
        if not self._begun.wait(seconds):
            raise BedBroken("the board says nothing of its update")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.heard.append((time.monotonic(), json.loads(line)))
                self._begun.set()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)
        self._thread.join(timeout=10)
