"""MQTT messages, as paho brings them and as it takes them. Nothing here knows paho."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """A message that came.

    Attributes:
        topic, payload: as it was published. retained: it lay with the broker before we came.
        content_type, response_topic, correlation, expiry_s: of MQTT 5, where the sender said so.
        said: user properties of MQTT 5, names in lower case.
    """

    topic: str
    payload: bytes
    retained: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A message that answers another one. All but topic and payload is for MQTT 5, and left out before it.

    Attributes:
        said: user properties.
    """

    topic: str
    payload: bytes
    content_type: str
    correlation: bytes | None = None
    said: Sequence[tuple[str, str]] = ()
