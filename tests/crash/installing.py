"""The installer of a board, recorded: `python -m tests.crash.installing ROOT` with an InstallRequest on standard input.

On a board it runs out of the agent's zip, before there is a runtime; here out of this tree.
"""

from __future__ import annotations

import sys
from pathlib import Path

import agent.update.files
from tests.crash import recording

agent.update.files.DISK = recording.disk(agent.update.files.Files)

from agent.install import main  # noqa: E402 - takes the file system that is there when it is imported

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
