from __future__ import annotations

import json
import re
from typing import Any

from agent.contract.topics import TopicKind, parse
from edge.telemetry.home_assistant import Shown, discovery
from tests.telemetry.boards import FLEET, PI, ROCK, model, sample, telemetry


def shown() -> tuple[str, Any]:
    topic, payload = discovery(FLEET, PI, "pi", "raspberry-pi-5")
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


def test_it_is_told_what_changed_and_what_is_gone() -> None:
    shown_now = Shown(FLEET)
    first = shown_now.news({PI: ("pi", None), ROCK: ("rock", None)})
    assert [json.loads(body)["device"]["name"] for _, body in first] == ["pi", "rock"]
    assert shown_now.news({PI: ("pi", None), ROCK: ("rock", None)}) == ()
    gone, changed = shown_now.news({PI: ("kitchen", None)})
    assert gone == (f"homeassistant/device/edge-{ROCK}/config", b"")
    assert json.loads(changed[1])["device"]["name"] == "kitchen"
