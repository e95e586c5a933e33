"""The board's signed report, as the update process left it: published as it is, and each new state told as an event.

The rule: nothing here judges the report or changes a byte of it. Which state was told last is kept with the events
themselves, so that a state is told once, whatever dies in between.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.contract.codec import decode
from agent.contract.errors import ContractError
from agent.contract.messages import EventKind, Reported, Signed
from agent.link.sampler import event
from agent.watched_file import WatchedFile

LIMIT_BYTES = 1024 * 1024
LOG = logging.getLogger("agent.link")


@dataclass(frozen=True)
class Report:
    """A report that the board may publish.

    Attributes:
        signed: the envelope's bytes. state: tells it from reports of another state. event: what tells of it.
    """

    signed: bytes
    state: str
    event: bytes


class Reports:
    """Watches `state/reported.json`."""

    def __init__(self, path: Path, *, device: str) -> None:
        self._file = WatchedFile(path, limit_bytes=LIMIT_BYTES)
        self._device = device

    def newer(self) -> Report | None:
        """The report, where it is another one than at the last look."""
        if not self._file.changed():
            return None
        try:
            signed = self._file.read()
            return None if signed is None else self._report(signed)
        except (OSError, ValueError, ContractError) as error:
            LOG.warning("`%s` is not published: %s", self._file.path, error)
            return None

    def _report(self, signed: bytes) -> Report:
        envelope = decode(Signed, signed, limit_bytes=LIMIT_BYTES)
        if envelope.device != self._device:
            raise ValueError(f"it speaks for `{envelope.device}`")
        reported = decode(Reported, envelope.payload.encode(), limit_bytes=LIMIT_BYTES)
        facts: dict[str, Any] = {
            "state": reported.state.value,
            "counter": reported.counter,
            "code": reported.code,
            "title": _title(reported),
        }
        code = reported.code or f"update.{reported.state.value}"
        said = reported.message or f"{facts['title']}: {facts['state']}"
        state = f"{reported.counter} {reported.state.value} {reported.code or ''}"
        return Report(signed, state, event(EventKind.UPDATE, code, said, facts))


def _title(reported: Reported) -> str:
    """What the last desired state asked for."""
    last = next((entry for entry in reported.history if entry.counter == reported.counter), None)
    generation = reported.trial or reported.current
    if last is not None and not reported.in_progress:
        return last.title
    return generation.title if generation is not None else ""
