"""The board's stream: `link/stream.json`, written over SSH, and what the agent says of it in `run/stream.json`.

The rule: without the first document there is no stream, and nothing of it costs anything. The second is what the agent
remembers over its restarts: which files it need not look at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_name

STREAM_SCHEMA = "edge.stream/1"
STREAM_STATE_SCHEMA = "edge.stream-state/1"
STREAM_FILE = "stream.json"
FASTEST = 60.0
"""Per second."""
_CAMERA = re.compile(r"camera:([0-9]{1,2})")


@dataclass(frozen=True)
class StreamConfig:
    """What is looked at, by which model, and which of its answers are published.

    Attributes:
        model: its name.
        source: absolute path of a watched folder, or `camera:0` and so on, as V4L2 counts.
        rate: at most so many pictures a second, above 0, up to 60.
        min_score: an answer with a lower score is none; None lets all through.
        on_change: publish only what is another answer than the one before.
    """

    model: str
    source: str
    rate: float = 1.0
    min_score: float | None = None
    on_change: bool = False
    schema: str = STREAM_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.model, what="model")
        if self.schema != STREAM_SCHEMA:
            raise _invalid(f"`schema` is {self.schema!r}, this version reads {STREAM_SCHEMA!r}")
        if self.camera is None and (not self.source.startswith("/") or "\0" in self.source):
            raise _invalid("`source` must be an absolute path, or `camera:` and a number below 100")
        if not 0 < self.rate <= FASTEST:
            raise _invalid(f"`rate` must be above 0 and at most {FASTEST:g}")

    @property
    def camera(self) -> int | None:
        """The camera's number; None for a folder."""
        found = _CAMERA.fullmatch(self.source)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class StreamState:
    """What the agent says of its stream.

    Attributes:
        seen: SHA-256 of the `stream.json` that this is about; empty where there is none any more.
        source: what it looked at last.
        asked: pictures that the model was asked about. published: answers that were given to the broker's connection.
        failed: pictures without an answer, skipped: files that a newer one overtook.
        newest: when the newest file that was taken came to the folder, nanoseconds since 1970.
        last: its name. error: why nothing goes on, or the last picture had no answer; empty where all is well.
    """

    seen: str = ""
    source: str = ""
    asked: int = 0
    published: int = 0
    failed: int = 0
    skipped: int = 0
    newest: int = 0
    last: str = ""
    error: str = ""
    schema: str = STREAM_STATE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)


def _invalid(reason: str) -> DocumentInvalid:
    return DocumentInvalid(document="StreamConfig", reason=reason)
