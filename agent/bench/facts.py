"""What the kernel says of the board and of the process that answers, as fields of a `LoadReport`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.system import BoardReader, peak_bytes_of, pss_bytes, rss_bytes


def heat(folder: Path) -> tuple[float | None, str | None]:
    """Degrees Celsius and the firmware's word on throttling, now. `folder`: any on the board."""
    plain = BoardReader(folder).plain()
    return plain.get("temperature_c"), plain.get("throttled")


def memory(pid: int) -> dict[str, Any]:
    """What a process takes, now."""
    return {
        "server_rss_bytes": rss_bytes(pid),
        "server_pss_bytes": pss_bytes(pid),
        "server_peak_bytes": peak_bytes_of(pid),
    }


def heat_fields(
    before: tuple[float | None, str | None], after: tuple[float | None, str | None]
) -> dict[str, Any]:
    """The board before and after the load."""
    return {
        "temperature_c_before": before[0],
        "temperature_c": after[0],
        "throttled_before": before[1],
        "throttled": after[1],
    }
