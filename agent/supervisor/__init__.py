"""The agent's own supervisor, where there is no systemd: keeps the agent running, and starts the update process.

The rule: standard library, little memory, no decision about updates: it runs `recover` before the agent, restarts
what ends with back-off, runs one `apply` at a time, ends what hangs, and does what it is told by signals. It survives
the change of the runtime that it was started from by executing itself anew, its children kept.

    SIGHUP   tell the agent to serve what the links name; start it where it does not run
    SIGUSR1  end the agent, and start it where a link names a generation
    SIGTERM  end everything
"""

from __future__ import annotations

from pathlib import Path

from agent.supervisor.supervising import Supervisor

__all__ = ["Supervisor", "main"]


def main(root: Path) -> int:
    """Supervise the board at `root` until SIGTERM.

    Returns:
        0 at the end; 1 when another supervisor is there.
    """
    return Supervisor(root.resolve()).run()
