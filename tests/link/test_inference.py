"""Inference over MQTT: an agent's process, a real mosquitto with the fleet's own access list, unmodified clients."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.contract.topics import TopicKind, topic
from agent.link.inference import LONGEST_BYTES, MOST
from edge.certificates import CertificateAuthority
from edge.collector.access import AccessList
from tests.agent.boards import digits
from tests.agent.conftest import RunningAgent
from tests.link.boards import DEVICE, LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import FLEET, NAME

CLIENTS = ("line-3", "line-4")
REQUESTS = topic(FLEET, DEVICE, TopicKind.INFER, "digits")
RESULTS = topic(FLEET, DEVICE, TopicKind.RESULT, "digits")
ANSWER_S = 20.0


@dataclass(frozen=True)
class Line:
    """A board that serves, and the way to its broker."""

    board: LinkedBoard
    agent: RunningAgent
    broker: Broker
    folder: Path

    def files(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def mosquitto(self, program: str, name: str, *options: str) -> list[str]:
        """How one of mosquitto's clients is called."""
        certificate, key = self.files(name)
        where = [
            "-h",
            "localhost",
            "-p",
            str(self.broker.port),
            "--cafile",
            str(self.broker.folder / "ca.pem"),
        ]
        return [program, *where, "--cert", str(certificate), "--key", str(key), *options]

    def connected(self) -> bool:
        telemetry = self.agent.get("/edge/v1/status")[1]["telemetry"]
        return bool(telemetry and telemetry["connected"])

    def runs(self) -> int:
        """How often the engine ran."""
        status = self.agent.get("/edge/v1/status")[1]
        return int(next(m["counters"]["batches"] for m in status["models"] if m["name"] == "digits"))


class Client:
    """A client of paho's; its answers land in a queue."""

    def __init__(self, line: Line, name: str, protocol: int) -> None:
        self.answers: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._said: queue.Queue[object] = queue.Queue()
        context = ssl.create_default_context(cafile=str(line.broker.folder / "ca.pem"))
        context.load_cert_chain(*line.files(name))
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=protocol)  # type: ignore[arg-type]
        self.client.tls_set_context(context)
        self.client.on_socket_open = lambda _client, _data, opened: opened.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self.client.on_connect = lambda *_: self._said.put("connected")
        self.client.on_subscribe = lambda *_: self._said.put("subscribed")
        self.client.on_message = lambda _client, _data, message: self.answers.put(message)
        self.client.connect("localhost", line.broker.port)
        self.client.loop_start()
        self._said.get(timeout=ANSWER_S)
        for filter in (f"{RESULTS}/{name}/#", RESULTS):
            self.client.subscribe(filter, 1)
            self._said.get(timeout=ANSWER_S)

    def ask(self, payload: bytes, to: str = REQUESTS, **properties: Any) -> None:
        about = None
        if properties:
            about = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(about, name, value)
        self.client.publish(to, payload, 1, properties=about).wait_for_publish(ANSWER_S)

    def hears(self) -> mqtt.MQTTMessage:
        return self.answers.get(timeout=ANSWER_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    broker = Broker(folder / "broker", authority)
    (broker.folder / "acl").write_text(AccessList(FLEET, NAME, CLIENTS).render())
    broker.start()
    board = LinkedBoard(folder / "board", authority)
    board.generation(2, {"digits": board.digits_onnx(), "two": board.sum_and_product()})
    board.link("current", 2)
    board.report_to(broker.port, interval_s=0.1)
    for name in CLIENTS:
        pair = authority.client(name)
        (folder / f"{name}.pem").write_text(pair.certificate)
        (folder / f"{name}.key").write_text(pair.key)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        line = Line(board, agent.ready(), broker, folder)
        until(line.connected)
        yield line
    finally:
        agent.stop()
        broker.kill()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + ANSWER_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(params=[mqtt.MQTTv5, mqtt.MQTTv311], ids=["MQTT 5", "MQTT 3.1.1"])
def any_client(request: pytest.FixtureRequest, line: Line) -> Iterator[Client]:
    client = Client(line, "line-3", request.param)
    yield client
    client.close()


@pytest.fixture
def client(line: Line) -> Iterator[Client]:
    """One that speaks MQTT 5."""
    client = Client(line, "line-3", mqtt.MQTTv5)
    yield client
    client.close()


def version_2(id: str | None = None, sample: int = 0) -> bytes:
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": digits()[sample].tolist()}
    document: dict[str, Any] = {"inputs": [tensor]}
    return json.dumps({**document, "id": id} if id is not None else document).encode()


def said(message: mqtt.MQTTMessage) -> dict[str, str]:
    return dict(getattr(message.properties, "UserProperty", ()))


def test_a_request_of_version_2_is_answered_as_over_http(line: Line, any_client: Client) -> None:
    any_client.ask(version_2("first"))
    answer = any_client.hears()
    assert answer.topic == RESULTS
    assert (
        json.loads(answer.payload)
        == line.agent.post("/v2/models/digits/infer", json.loads(version_2("first")))[1]
    )
    assert json.loads(answer.payload)["id"] == "first"


def test_a_request_of_version_1_is_answered_and_its_answer_carries_its_id(
    line: Line, any_client: Client
) -> None:
    instances = digits()[:2].tolist()
    any_client.ask(json.dumps({"id": "second", "instances": instances}).encode())
    answer = json.loads(any_client.hears().payload)
    assert answer.pop("id") == "second"
    assert answer == line.agent.post("/v1/models/digits:predict", {"instances": instances})[1]


def test_the_bytes_of_the_only_input_are_a_request(line: Line, any_client: Client) -> None:
    any_client.ask(digits()[0].tobytes())
    head, place = json.JSONDecoder().raw_decode(any_client.hears().payload.decode("latin-1"))
    assert head["model_name"] == "digits"
    assert head["outputs"][0]["parameters"]["binary_data_size"] == 40
    assert place > 0


def test_binary_tensors_come_and_go_as_over_http(client: Client) -> None:
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "parameters": {"binary_data_size": 256}}
    head = json.dumps({"id": "b", "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = head + digits()[0].tobytes()
    client.ask(body, UserProperty=("Inference-Header-Content-Length", str(len(head))))
    answer = client.hears()
    length = int(said(answer)["Inference-Header-Content-Length"])
    scores = np.frombuffer(answer.payload[length:], np.float32)
    assert json.loads(answer.payload[:length])["id"] == "b"
    assert len(scores) == 10
    assert scores.sum() == pytest.approx(1.0, abs=1e-3)


def test_mqtt_5_answers_go_to_the_response_topic_with_the_correlation_data(client: Client) -> None:
    wanted = f"{RESULTS}/line-3/mine"
    client.ask(version_2(), ResponseTopic=wanted, CorrelationData=b"\0\xff7", ContentType="application/json")
    answer = client.hears()
    assert answer.topic == wanted
    assert answer.properties is not None
    assert answer.properties.CorrelationData == b"\0\xff7"
    assert answer.properties.ContentType == "application/json"
    assert said(answer)["status"] == "200"


@pytest.mark.parametrize(
    "wanted",
    [
        topic(FLEET, DEVICE, TopicKind.ACK),
        topic(FLEET, "b-1", TopicKind.DESIRED),
        topic(FLEET, "b-1", TopicKind.RESULT, "digits"),
        RESULTS.removesuffix("digits"),
        "home/door/open",
    ],
)
def test_no_answer_goes_to_a_topic_that_is_not_of_this_boards_results(client: Client, wanted: str) -> None:
    client.ask(version_2("spy"), ResponseTopic=wanted, CorrelationData=b"c")
    answer = client.hears()
    assert answer.topic == RESULTS
    assert said(answer)["status"] == "400"
    assert "the response topic must begin with" in json.loads(answer.payload)["error"]


def test_what_stands_behind_the_model_stands_behind_it_in_the_answers_topic(
    line: Line, any_client: Client
) -> None:
    any_client.ask(version_2("here"), f"{REQUESTS}/line-3/here")
    assert any_client.hears().topic == f"{RESULTS}/line-3/here"


def test_an_error_says_its_status_and_its_id_where_no_property_can(any_client: Client) -> None:
    any_client.ask(b'{"id": "wrong", "instances": [[1, 2]]}')
    answer = json.loads(any_client.hears().payload)
    assert (answer["id"], answer["status"]) == ("wrong", 400)
    assert "shape" in answer["error"]
    any_client.ask(b'{"inputs": [')
    answer = json.loads(any_client.hears().payload)
    assert answer["status"] == 400
    assert "failed to parse" in answer["error"]


def test_a_model_that_is_not_served_is_said(client: Client) -> None:
    to = topic(FLEET, DEVICE, TopicKind.INFER, "cats")
    client.client.subscribe(topic(FLEET, DEVICE, TopicKind.RESULT, "cats"), 1)
    client.ask(version_2(), to)
    answer = client.hears()
    assert json.loads(answer.payload)["error"] == "Request for unknown model: 'cats' is not found"
    assert said(answer)["status"] == "404"


def test_a_version_is_asked_for_by_a_property(client: Client) -> None:
    client.ask(version_2(), UserProperty=("model-version", "2"))
    assert said(client.hears())["status"] == "200"
    client.ask(version_2(), UserProperty=("Model-Version", "7"))
    assert said(client.hears())["status"] == "404"


def test_a_request_that_comes_again_is_answered_and_not_run_again(line: Line, any_client: Client) -> None:
    before = line.runs()
    id = f"again-{time.monotonic()}"
    answers = set()
    for _ in range(3):
        any_client.ask(version_2(id))
        answers.add(any_client.hears().payload)
    assert len(answers) == 1
    assert line.runs() == before + 1


def test_the_same_id_with_other_bytes_is_another_request(line: Line, any_client: Client) -> None:
    any_client.ask(version_2("same", 0))
    first = any_client.hears().payload
    any_client.ask(version_2("same", 1))
    assert any_client.hears().payload != first


def test_correlation_data_is_as_good_as_an_id(line: Line, client: Client) -> None:
    before = line.runs()
    answers = set()
    for _ in range(2):
        client.ask(version_2(), ResponseTopic=f"{RESULTS}/line-3", CorrelationData=b"once")
        answers.add(client.hears().payload)
    assert len(answers) == 1
    assert line.runs() == before + 1


def test_a_request_that_was_published_to_stay_is_not_run_at_each_connection(
    line: Line, client: Client
) -> None:
    client.client.publish(REQUESTS, version_2("stays"), 1, retain=True).wait_for_publish(ANSWER_S)
    client.hears()
    before = line.runs()
    words = "connected to the broker"
    seen = line.agent.log.read_text().count(words)
    line.board.report_to(line.broker.port, interval_s=0.1, url=f"mqtts://localhost:{line.broker.port}")
    until(lambda: line.agent.log.read_text().count(words) > seen)
    until(line.connected)
    client.client.publish(REQUESTS, b"", 1, retain=True).wait_for_publish(ANSWER_S)
    assert json.loads(client.hears().payload)["status"] == 400
    assert line.runs() == before


def test_a_payload_that_is_too_long_is_refused(line: Line, client: Client) -> None:
    client.ask(b'{"id": "long", "instances": "' + b"x" * LONGEST_BYTES + b'"}')
    answer = client.hears()
    assert said(answer)["status"] == "413"
    assert "too large" in json.loads(answer.payload)["error"]


def test_more_than_may_wait_are_told_so_and_telemetry_goes_on(line: Line, client: Client) -> None:
    count = 4 * MOST
    for number in range(count):
        client.client.publish(REQUESTS, version_2(f"flood-{number}"), 1)
    answers = [json.loads(client.hears().payload) for _ in range(count)]
    statuses = [answer.get("status", 200) for answer in answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= MOST
    assert {answer["id"] for answer in answers} == {f"flood-{number}" for number in range(count)}


@pytest.mark.parametrize("version", ["mqttv5", "mqttv311"])
def test_mosquittos_own_clients_ask_with_a_file(line: Line, tmp_path: Path, version: str) -> None:
    (tmp_path / "request.json").write_bytes(version_2(f"file-{version}"))
    hears = subprocess.Popen(
        line.mosquitto("mosquitto_sub", "line-4", "-V", version, "-t", RESULTS, "-C", "1", "-W", "20"),
        stdout=subprocess.PIPE,
    )
    time.sleep(0.3)
    says = line.mosquitto("mosquitto_pub", "line-3", "-V", version, "-q", "1", "-t", REQUESTS)
    subprocess.run([*says, "-f", str(tmp_path / "request.json")], check=True, timeout=20)
    out, _ = hears.communicate(timeout=30)
    assert json.loads(out)["id"] == f"file-{version}"

    whole = line.mosquitto("mosquitto_rr", "line-3", "-V", version, "-q", "1", "-W", "20")
    whole += ["-t", f"{REQUESTS}/line-3", "-e", f"{RESULTS}/line-3", "-m", version_2().decode()]
    done = subprocess.run(whole, check=True, timeout=30, capture_output=True)
    assert json.loads(done.stdout)["model_name"] == "digits"
