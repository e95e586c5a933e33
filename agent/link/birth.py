"""What a board is, as it says when it connects.

The rule: whoever reads it needs no table of his own: each number's unit follows from its name, and is said.
"""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from agent import __version__
from agent.contract import CONTRACT, OLDEST_CONTRACT
from agent.contract.codec import from_plain
from agent.contract.messages import Birth, ServedModel
from agent.contract.samples import BoardCounters, ModelCounters
from agent.link.subject import Subject

UNITS = {"s": "s", "ms": "ms", "bytes": "B", "c": "°C"}
"""By the last part of a field's name."""
BOARD_MODEL = Path("/proc/device-tree/model")


def birth(subject: Subject, connection: int) -> Birth:
    """What the board says when it connects for the `connection`th time."""
    return Birth(
        device=subject.config.device,
        boot=subject.boot,
        connection=connection,
        agent_version=__version__,
        contracts=tuple(range(OLDEST_CONTRACT, CONTRACT + 1)),
        profile=subject.config.profile,
        hardware=_hardware(),
        models=tuple(from_plain(ServedModel, model) for model in subject.models()),
        fields=_fields(),
    )


@cache
def _hardware() -> Mapping[str, str | int]:
    found: dict[str, str | int] = {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 1,
    }
    try:
        found["model"] = BOARD_MODEL.read_text().rstrip("\0\n")
    except (OSError, UnicodeDecodeError):
        return found  # no board with a device tree
    return found


@cache
def _fields() -> Mapping[str, str]:
    return {
        f"{part}.{field.name}": UNITS.get(field.name.rpartition("_")[2], "1")
        for part, kind in (("board", BoardCounters), ("models", ModelCounters))
        for field in dataclasses.fields(kind)
        if field.name not in ("name", "release", "throttled", "extra")
    }
