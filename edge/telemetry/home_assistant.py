"""The boards in Home Assistant, by its MQTT discovery: a retained message a board, made by a pure function.

The rule: nothing is sent for Home Assistant beside that message: it reads the topics that are there. It must use the
same broker, so this is for fleets with a broker of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agent.contract.topics import TopicKind, topic
from edge.telemetry.boards import KnownDevice

PREFIX = "homeassistant"

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


def discovery(
    fleet: str, device: KnownDevice, *, profile: str | None, agent_version: str | None
) -> tuple[str, bytes]:
    """The message that shows a board: its topic and what is said there.

    Args:
        fleet: the fleet's name.
        device: the board.
        profile: of its birth, or None while it was not heard of.
        agent_version: the same.
    """
    identity = f"edge-{device.device_id}"
    document = {
        "device": {
            "identifiers": [identity], "name": device.name, "manufacturer": "edge",
            "model": profile or "unknown", "sw_version": agent_version or "unknown",
        },
        "origin": {"name": "edge"},
        "availability": [
            {
                "topic": topic(fleet, device.device_id, TopicKind.STATE),
                "value_template": AVAILABLE,
            }
        ],
        "state_topic": topic(fleet, device.device_id, TopicKind.TELEMETRY),
        "components": dict(_sensors(identity)),
    }  # fmt: skip
    return f"{PREFIX}/device/{identity}/config", json.dumps(document, ensure_ascii=False).encode()


def removal(device_id: str) -> tuple[str, bytes]:
    """The message that takes a board away again: an empty one on the same topic."""
    return f"{PREFIX}/device/edge-{device_id}/config", b""


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
