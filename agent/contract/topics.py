"""The MQTT topics, built and taken apart. These strings stand nowhere else.

    edge/v1/<fleet>/<part>/<device>/<kind>[/<id>]

`<part>` is two hexadecimal digits of a stable hash of the device id, so that collectors can share the work
without broker features. Behind `infer/<model>` and `result/<model>` may stand what a client chooses.
Law: `parse(topic(f, d, k, i)) == Topic(f, d, k, i)`.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from agent.contract.errors import NameInvalid
from agent.contract.names import check_name

ROOT = "edge/v1"


class TopicKind(str, enum.Enum):
    """The last level of a device's topic."""

    BIRTH = "birth"
    STATE = "state"
    REPORTED = "reported"
    DESIRED = "desired"
    TELEMETRY = "telemetry"
    EVENT = "event"
    ACK = "ack"
    COMMAND = "command"
    REPLY = "reply"
    INFER = "infer"
    RESULT = "result"


RETAINED = frozenset({TopicKind.BIRTH, TopicKind.STATE, TopicKind.REPORTED, TopicKind.DESIRED, TopicKind.ACK})
WITH_ID = frozenset({TopicKind.COMMAND, TopicKind.REPLY, TopicKind.INFER, TopicKind.RESULT})
FROM_DEVICE = frozenset(
    {
        TopicKind.BIRTH,
        TopicKind.STATE,
        TopicKind.REPORTED,
        TopicKind.TELEMETRY,
        TopicKind.EVENT,
        TopicKind.REPLY,
        TopicKind.RESULT,
    }
)


@dataclass(frozen=True)
class Topic:
    """A device's topic. `id` is the command's id or the model's name where the kind has one, else None."""

    fleet: str
    device: str
    kind: TopicKind
    id: str | None = None


def part(device: str) -> str:
    """The partition of a device: the first two hexadecimal digits of the SHA-256 of its id."""
    return hashlib.sha256(device.encode()).hexdigest()[:2]


def topic(fleet: str, device: str, kind: TopicKind, id: str | None = None) -> str:
    """The topic's string.

    Raises:
        NameInvalid: a level is no name, or `id` is missing where the kind needs one (or given where it has none).
    """
    check_name(fleet, what="fleet")
    check_name(device, what="device")
    if (id is not None) != (kind in WITH_ID):
        raise NameInvalid(
            what="topic", name=kind.value, rule="with an id exactly for command, reply, infer, result"
        )
    levels = [ROOT, fleet, part(device), device, kind.value]
    if id is not None:
        levels.append(check_name(id, what="topic id"))
    return "/".join(levels)


def beginning(fleet: str, device: str, kind: TopicKind) -> str:
    """What all of a device's topics of a kind with ids begin with, up to the id.

    Raises:
        NameInvalid: as `topic`.
    """
    return topic(fleet, device, kind, "0")[:-1]


def parse(text: str) -> Topic:
    """Take a topic's string apart.

    Raises:
        NameInvalid: it is none of ours, or its partition does not belong to its device.
    """
    levels = text.split("/")
    wrong = NameInvalid(what="topic", name=text[:200], rule=f"{ROOT}/<fleet>/<part>/<device>/<kind>[/<id>]")
    if len(levels) not in (6, 7) or "/".join(levels[:2]) != ROOT:
        raise wrong
    try:
        kind = TopicKind(levels[5])
    except ValueError:
        raise wrong from None
    found = Topic(levels[2], levels[4], kind, levels[6] if len(levels) == 7 else None)
    if topic(found.fleet, found.device, found.kind, found.id) != text:
        raise wrong
    return found


def subscription(fleet: str, kind: TopicKind, *, partition: str = "+") -> str:
    """The filter that a collector subscribes to for one kind, of all devices or of one partition."""
    tail = f"{kind.value}/+" if kind in WITH_ID else kind.value
    return f"{ROOT}/{check_name(fleet, what='fleet')}/{partition}/+/{tail}"
