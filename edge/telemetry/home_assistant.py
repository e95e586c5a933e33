"""The boards in Home Assistant, by its MQTT discovery: a retained message a board, made by a pure function.

The rule: nothing is sent for Home Assistant beside that message: it reads the topics that are there. It must use the
same broker, so this is for fleets with a broker of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agent.contract.topics import TopicKind, topic

TOPICS = "homeassistant/"

SENSORS = (
    ("temperature", "Temperature", "board.temperature_c", "°C", "temperature", "measurement"),
    ("uptime", "Uptime", "board.uptime_s", "s", "duration", "measurement"),
    ("memory", "Memory in use", "board.memory_used_bytes", "B", "data_size", "measurement"),
    ("disk", "Disk free", "board.disk_free_bytes", "B", "data_size", "measurement"),
    ("cpu", "CPU time", "board.cpu_s", "s", "duration", "total_increasing"),
    ("requests", "Requests", "models | sum(attribute='requests')", None, None, "total_increasing"),
)
"""Key, name, where in a sample, unit, device class, state class."""
AVAILABLE = "{{ 'online' if value_json.presence == 'online' else 'offline' }}"


class Shown:
    """What Home Assistant was told, so that it is told what changed."""

    def __init__(self, fleet: str) -> None:
        self._fleet = fleet
        self._told: dict[str, tuple[str, bytes]] = {}

    def news(self, boards: Mapping[str, tuple[str, str | None]]) -> tuple[tuple[str, bytes], ...]:
        """Messages to be retained, each a topic and what is said there. `boards`: by id, each its name and profile."""
        now = {
            device: discovery(self._fleet, device, name, profile)
            for device, (name, profile) in boards.items()
        }
        gone = [(topic, b"") for device, (topic, _) in self._told.items() if device not in now]
        changed = [message for device, message in now.items() if self._told.get(device) != message]
        self._told = now
        return (*gone, *changed)


def discovery(fleet: str, device: str, name: str, profile: str | None) -> tuple[str, bytes]:
    """The message that shows a board: its topic and what is said there. An empty one takes the board away again.

    Args:
        fleet: the fleet's name.
        device: the board's id.
        name: what people call it.
        profile: what kind of board it is, or None while that is not known.
    """
    identity = f"edge-{device}"
    document = {
        "device": {
            "identifiers": [identity], "name": name, "manufacturer": "edge", "model": profile or "unknown",
        },
        "origin": {"name": "edge"},
        "availability": [
            {
                "topic": topic(fleet, device, TopicKind.STATE),
                "value_template": AVAILABLE,
            }
        ],
        "state_topic": topic(fleet, device, TopicKind.TELEMETRY),
        "components": dict(_sensors(identity)),
    }  # fmt: skip
    return f"{TOPICS}device/{identity}/config", json.dumps(document, ensure_ascii=False).encode()


def _sensors(identity: str) -> Iterable[tuple[str, dict[str, Any]]]:
    for key, name, where, unit, kind, state in SENSORS:
        found = {
            "platform": "sensor", "unique_id": f"{identity}-{key}", "name": name, "state_class": state,
            "unit_of_measurement": unit, "device_class": kind, "value_template": _template(where),
        }  # fmt: skip
        yield key, {name: value for name, value in found.items() if value is not None}


def _template(where: str) -> str:
    """Of the newest sample of a message; empty, which leaves the state as it was, where the board can't tell."""
    return "{% if value_json.samples %}{{ value_json.samples[-1]." + where + " | default('') }}{% endif %}"
