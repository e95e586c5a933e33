"""Brokers for the tests of the way to a broker: real mosquitto and the embedded one, over TLS, with a fleet's keys."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from edge.certificates import CertificateAuthority
from edge.collector import broker as brokers
from edge.collector import mosquitto, own_broker
from edge.collector.broker import KIND_EMBEDDED, KIND_MOSQUITTO, KIND_OWN, Broker
from edge.config import FleetFolder
from tests.beds.board import free_port

COLLECTOR = "c-00000000000000aa"
ANSWER_S = 10.0


class Client:
    """One MQTT connection with a certificate of the fleet; what it hears lands in a queue."""

    def __init__(self, broker: Broker, pair: tuple[Path, Path] | None, **options: object) -> None:
        self.heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._answers: queue.Queue[object] = queue.Queue()
        protocol = options.pop("protocol", mqtt.MQTTv311)
        will = options.pop("will", None)
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=str(options.pop("client_id", "anything")),
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=bool(options.pop("manual_ack", False)),
        )
        if will is not None:
            self.client.will_set(*will)
        context = ssl.create_default_context(cafile=broker.ca_file)
        if pair is not None:
            context.load_cert_chain(*pair)
        self.client.tls_set_context(context)
        self.client.on_socket_open = lambda _client, _data, opened: opened.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self.client.on_connect = lambda *arguments: self._answers.put(arguments[3])
        self.client.on_subscribe = lambda *arguments: self._answers.put(arguments[3])
        self.client.on_publish = lambda *arguments: self._answers.put(arguments[3])
        self.client.on_disconnect = lambda *arguments: self._answers.put(arguments[3])
        self.client.on_message = lambda _client, _data, message: self.heard.put(message)
        self.keepalive = int(options.pop("keepalive", 60))
        self.client.connect(broker.host, broker.port, keepalive=self.keepalive)
        self.client.loop_start()

    def connected(self) -> object:
        """The answer to CONNECT, or why there was none."""
        return self._answers.get(timeout=ANSWER_S)

    def subscribe(self, filter: str) -> object:
        self.client.subscribe(filter, 1)
        return self._answers.get(timeout=ANSWER_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> object:
        self.client.publish(topic, payload, 1, retain)
        return self._answers.get(timeout=ANSWER_S)

    def hears(self, seconds: float = ANSWER_S) -> tuple[str, bytes]:
        message = self.heard.get(timeout=seconds)
        return message.topic, message.payload

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def drop(self) -> None:
        """Be gone without a word."""
        sock = self.client.socket()
        self.client.loop_stop()
        if sock is not None:
            sock.close()


Meet = Callable[..., Client]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    made = CertificateAuthority(tmp_path_factory.mktemp("keys"))
    assert made.certificate  # its files are there, to be copied
    return made


@pytest.fixture(scope="session")
def pairs(
    authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """Certificate and key files of a client called so."""
    folder = tmp_path_factory.mktemp("pairs")

    def pair(name: str) -> tuple[Path, Path]:
        files = folder / f"{name}.pem", folder / f"{name}.key"
        if not files[0].exists():
            made = authority.client(name)
            files[0].write_text(made.certificate)
            files[1].write_text(made.key)
        return files

    return pair


def folder_with(path: Path, **settings: object) -> FleetFolder:
    folder = FleetFolder.create(path, "demo")
    return replace(folder, config=replace(folder.config, fleet="demo-abcdef", **settings))


@pytest.fixture(scope="module", params=[KIND_MOSQUITTO, KIND_EMBEDDED, KIND_OWN])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[Broker]:
    """All brokers, one after the other."""
    folder = tmp_path_factory.mktemp("fleet")
    if request.param == KIND_OWN:
        with own_mosquitto(folder, authority) as own:
            yield own
        return
    started = brokers.start(folder_with(folder / "f", mqtt_broker=request.param), COLLECTOR, authority)
    yield started
    started.stop()


@contextlib.contextmanager
def own_mosquitto(folder: Path, authority: CertificateAuthority) -> Iterator[Broker]:
    """A mosquitto with the files that `edge broker config` writes, as its owner would run it."""
    program = mosquitto.find()
    if program is None:
        pytest.skip("mosquitto is not installed")
    port, config = free_port(), folder / "mosquitto.conf"
    fleet = folder_with(folder / "f", mqtt_url=f"mqtts://localhost:{port}", mqtt_ca="keys/mqtt-ca.pem")
    shutil.copytree(authority._path, fleet.keys, dirs_exist_ok=True)
    files = folder / "files"
    own_broker.write_files(fleet, files, collector_id=COLLECTOR, host="localhost", port=port, files=files)
    config.write_text(f"user root\npersistence false\ninclude_dir {files}\n")
    process = subprocess.Popen([str(program), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        own = replace(brokers.start(fleet, COLLECTOR, authority), server_name="localhost")
        assert brokers._answers(own)
        yield own
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def meet(broker: Broker, pairs: Callable[[str], tuple[Path, Path]]) -> Iterator[Meet]:
    """Connects clients by name; ended at the end."""
    met: list[Client] = []

    def meet(name: str | None, **options: object) -> Client:
        client = Client(broker, None if name is None else pairs(name), **options)
        met.append(client)
        if options.get("answer", True):
            assert str(client.connected()) == "Success"
        return client

    yield meet
    for client in met:
        client.close()
