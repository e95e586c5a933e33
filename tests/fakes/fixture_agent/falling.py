"""A file system that kills its process before its n-th change, once, with SIGKILL.

`EDGE_FALL_LOG` names a file that every change is appended to; `EDGE_FALL_AT` is the number of the change before which
to fall, counted over that file.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRIMITIVES = ("write", "sync", "sync_folder", "rename", "symlink", "unlink", "mkdir", "rmdir", "chmod")


def disk(files: type[Any]) -> Any:
    log = os.environ.get("EDGE_FALL_LOG")
    if not log:
        return files()
    return type(
        "Falling", (files,), {name: _falling(getattr(files, name), name, Path(log)) for name in PRIMITIVES}
    )()


def _falling(real: Callable[..., Any], name: str, log: Path) -> Callable[..., Any]:
    def change(self: Any, path: Path, *arguments: Any, **options: Any) -> Any:
        done = log.read_text().count("\n") if log.exists() else 0
        with log.open("a") as file:
            file.write(
                f"{name} {path} {' '.join(str(one) for one in arguments if isinstance(one, (str, Path)))}\n"
            )
        if done == int(os.environ.get("EDGE_FALL_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, path, *arguments, **options)

    return change
