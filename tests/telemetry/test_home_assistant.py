from __future__ import annotations

import json
import re
from typing import Any

from agent.contract.topics import TopicKind, parse
from edge.telemetry.home_assistant import discovery, removal
from tests.telemetry.boards import FLEET, KNOWN, PI, model, sample, telemetry


def shown() -> tuple[str, Any]:
    topic, payload = discovery(FLEET, KNOWN[PI], profile="raspberry-pi-5", agent_version="1.0")
    return topic, json.loads(payload)


def test_a_board_is_a_device_with_what_home_assistant_asks_of_one() -> None:
    topic, document = shown()
    assert topic == f"homeassistant/device/edge-{PI}/config"
    assert document["device"]["identifiers"] == [f"edge-{PI}"]
    assert document["origin"]["name"] == "edge"
    for sensor in document["components"].values():
        assert sensor["platform"] == "sensor"
        assert sensor["unique_id"].startswith(f"edge-{PI}-")
    assert len({sensor["unique_id"] for sensor in document["components"].values()}) == len(
        document["components"]
    )


def test_it_reads_the_topics_that_boards_publish_on() -> None:
    _, document = shown()
    assert parse(document["state_topic"]).kind is TopicKind.TELEMETRY
    assert parse(document["availability"][0]["topic"]).kind is TopicKind.STATE


def test_every_template_names_what_stands_in_a_boards_message() -> None:
    message = json.loads(telemetry([sample(1, models=[model(3)])]).payload)
    for sensor in shown()[1]["components"].values():
        (way,) = re.findall(r"value_json\.samples\[-1\]\.([a-z_.]+)", sensor["value_template"])
        where = message["samples"][-1]
        for step in way.split("."):
            where = where[step]
        assert where is not None


def test_a_board_is_taken_away_by_an_empty_message_on_the_same_topic() -> None:
    assert removal(PI) == (shown()[0], b"")
