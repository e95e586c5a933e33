"""Inference through the broker that comes along: a fleet folder's collector, its embedded broker, a real agent."""

from __future__ import annotations

import io
import json
import queue
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from click.testing import CliRunner

from agent.contract.errors import RequestInvalid
from agent.contract.load import LoadReport
from agent.contract.topics import TopicKind, topic
from edge.bench.over_mqtt import ThroughBroker
from edge.bench.subject import Ended, Generator
from edge.bench.window import Window
from edge.certificates import CertificateAuthority
from edge.cli.broker import client as broker_client
from edge.collector import asking, client, records
from edge.config import FleetFolder
from tests.agent.boards import digits
from tests.agent.conftest import RunningAgent
from tests.link.boards import DEVICE, LinkedBoard
from tests.link.collector import FLEET
from tests.link.test_inference import ANSWER_S, until, version_2


@dataclass(frozen=True)
class Here:
    """A fleet folder with its collector, and a board that serves `digits`."""

    fleet: FleetFolder
    port: int
    board: LinkedBoard


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("here")
    toml = FleetFolder.create(folder / "fleet").edge_toml
    lines = [f'[fleet]\nname = "{FLEET}"', '[mqtt]\nbroker = "embedded"\nclients = ["line-3"]']
    toml.write_text("\n".join(lines))
    fleet = FleetFolder.open(toml.parent)
    board = LinkedBoard(folder / "board", CertificateAuthority(fleet.keys))
    board.generation(2, {"digits": board.digits_onnx()})
    board.link("current", 2)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        client.ensure(fleet)
        until(lambda: (running := records.read_running(fleet)) and running.broker_port)
        running = records.read_running(fleet)
        assert running is not None
        assert running.broker_port is not None
        board.report_to(running.broker_port, collector=records.enrolled_id(fleet), interval_s=3600)
        agent.ready()
        until(lambda: (agent.get("/edge/v1/status")[1]["telemetry"] or {}).get("connected"))
        yield Here(fleet, running.broker_port, board)
    finally:
        agent.stop()
        client.stop(fleet)


def test_a_command_of_the_folder_asks_beside_the_collector(here: Here) -> None:
    first = json.loads(asking.ask(here.fleet, DEVICE, "digits", version_2("one"), name="board"))
    assert first["id"] == "one"
    array = io.BytesIO()
    np.save(array, digits()[0])
    second = json.loads(asking.ask(here.fleet, DEVICE, "digits", array.getvalue(), name="board"))
    assert (second["model"], second["release"]) == ("digits", "digits@2")
    assert client.status(here.fleet).connected


def load(here: Here, *, request: str | None = None, **window: Any) -> LoadReport:
    """A window over MQTT. `request`: asked instead of what the board says that fits its model."""

    def run(arguments: Sequence[str], timeout_s: float) -> Ended:
        command = [sys.executable, "-I", str(here.board.root / "bin" / "launch.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        told = json.loads(done.stdout)
        return Ended(
            done.returncode, json.dumps({**told, "request": request or told["request"]}), done.stderr
        )

    generator = Generator(place="here", arguments=("--model", "digits"), run=run)
    measure = ThroughBroker(fleet=here.fleet, device_id=DEVICE, board=generator)
    return measure(Window(**{"way": "mqtt", "seconds": 0.5, "warm_up_s": 0.1, **window}))


def test_a_closed_loop_over_mqtt_counts_what_came_back_and_what_the_board_did_for_it(here: Here) -> None:
    found = load(here, connections=4)

    assert found.requests == found.sent == found.latencies.count == found.inferences > 4
    assert found.errors == {}
    assert (found.model, found.version) == ("digits", "2")
    assert found.server_cpu_s is not None
    assert found.server_rss_bytes is not None


def test_an_open_loop_over_mqtt_asks_when_it_is_time_and_refusals_are_counted(here: Here) -> None:
    found = load(here, connections=8, rate_per_s=40.0)
    assert found.sent == found.requests == found.late.count == 20

    refused = load(here, request='{"inputs":[]}', connections=8, rate_per_s=40.0)
    assert refused.errors == {"400": 20}
    assert refused.requests == refused.latencies.count == 0


def test_who_waits_for_the_answers_of_others_over_mqtt_has_waited_since_it_was_due(here: Here) -> None:
    found = load(here, connections=1, rate_per_s=500.0, arrivals="constant", seconds=0.1)

    assert found.sent == 50
    assert found.waited > 0
    longest_ms = found.latencies.quantile_ms(1.0)
    assert longest_ms is not None
    assert longest_ms >= 0.99 * (found.seconds - 0.1) * 1000, "the last one was due within the window"


def test_what_no_broker_carries_is_said_before_it_is_sent(here: Here) -> None:
    with pytest.raises(RequestInvalid, match="MQTT carries at most"):
        asking.ask(here.fleet, DEVICE, "digits", bytes(5 * 1024 * 1024), name="board")


def test_a_client_that_edge_toml_names_asks_with_its_certificate(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.fleet.path)
    refused = CliRunner().invoke(broker_client, ["line-4", str(tmp_path)])
    assert "first name it in edge.toml" in str(refused.exception)
    assert CliRunner().invoke(broker_client, ["line-3", str(tmp_path)]).exit_code == 0

    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    context = ssl.create_default_context(cafile=str(tmp_path / "mqtt-ca.pem"))
    context.load_cert_chain(tmp_path / "line-3.pem", tmp_path / "line-3.key")
    asks = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "line-3", protocol=mqtt.MQTTv311)
    asks.tls_set_context(context)
    asks.on_subscribe = lambda *arguments: heard.put(("granted", bytes(code.value for code in arguments[3])))
    asks.on_message = lambda _client, _data, message: heard.put((message.topic, message.payload))
    asks.connect("localhost", here.port)
    asks.loop_start()
    try:
        results = topic(FLEET, DEVICE, TopicKind.RESULT, "digits")
        asks.subscribe([(results, 1), (topic(FLEET, DEVICE, TopicKind.ACK), 1)])
        assert heard.get(timeout=ANSWER_S) == ("granted", b"\x01\x80")
        asks.publish(topic(FLEET, DEVICE, TopicKind.INFER, "digits"), version_2("mine"), 1)
        where, answer = heard.get(timeout=ANSWER_S)
        assert (where, json.loads(answer)["id"]) == (results, "mine")
    finally:
        asks.disconnect()
        asks.loop_stop()
