"""A container with systemd, called `kitchen`: added, flashed, asked, and looked at afterwards."""

from __future__ import annotations

import shlex
import subprocess

from tests.beds.board import PASSWORD, ssh_argv
from tests.beds.systemd_container import SystemdContainer
from tests.journeys.laptop import Ended, Laptop


def added(laptop: Laptop, board: SystemdContainer, user: str = "pi") -> None:
    address = f"{user}@127.0.0.1:{board.board.port}"
    shown = laptop.does("device", "add", address, "--name", "kitchen", "-y")
    assert board.board.host_key_fingerprint in shown.err


def flash(laptop: Laptop, *arguments: str, code: int = 0, password: str | None = None) -> Ended:
    extra = {"EDGE_SUDO_PASSWORD": password} if password else {}
    asked = ("--ask-sudo-password",) if password else ()
    return laptop.does("flash", "kitchen", *arguments, *asked, code=code, seconds=400, **extra)


def on(board: SystemdContainer, command: str, *, root: bool = False) -> str:
    """What a command on the board prints."""
    if root:
        command = f"echo {PASSWORD} | sudo -S -p '' sh -c {shlex.quote(command)}"
    done = subprocess.run(ssh_argv(board.board, command), capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def is_bare(board: SystemdContainer) -> None:
    assert not (board.root / "opt/edge").exists()
    assert (
        on(board, "ls /etc/systemd/system | grep -c edge; getent passwd edge; pgrep -fc launch.py") == "0\n0"
    )
    assert on(board, "systemctl list-units --all --no-legend 'edge-*'") == ""
