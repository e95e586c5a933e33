"""Boards for the tests of the ways to the broker: a real sshd's, and a small agent that goes by `link.json` alone."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.codec import decode
from agent.contract.link import LinkConfig
from agent.contract.topics import TopicKind, topic
from edge.fleet.address import Address
from edge.fleet.connection import scan_host_key
from edge.inventory import Device

SOON_S = 20.0


class SpeakingBoard:
    """A board that was enrolled: edge's folder in its home, and what its agent would do with the link."""

    def __init__(self, name: str, home: Path, *, host: str, port: int, user: str, owner: int | None) -> None:
        self.name = name
        self.device_id = f"b-{name}"
        self.folder = home / ".edge"
        (self.folder / "link").mkdir(parents=True)
        key = scan_host_key(Address(host=host, port=port, user=user))
        self.device = Device(
            name=name,
            device_id=self.device_id,
            host=host,
            port=port,
            user=user,
            host_key=key.text,
            fingerprint=key.fingerprint,
            public_key="0" * 64,
            root="~/.edge",
        )
        self._owner = owner
        self.new_key()

    def new_key(self) -> None:
        """As its updater makes it."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = form.Encoding.PEM
        private = key.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption())
        public = key.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "mqtt.key").write_bytes(private)
        (self.folder / "mqtt.pub").write_bytes(public)
        if self._owner is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self._owner, self._owner)

    @property
    def link(self) -> LinkConfig:
        """What it was told."""
        return decode(LinkConfig, (self.folder / "link" / "link.json").read_bytes())

    @property
    def port(self) -> int:
        """Where its agent connects to."""
        return int(urlsplit(self.link.url).port or 0)

    def says(self, fleet: str, payload: bytes) -> None:
        """Publish one telemetry message and wait until the broker has it."""
        client = connected(self)
        client.loop_start()
        try:
            sent = client.publish(topic(fleet, self.device_id, TopicKind.TELEMETRY), payload, 1)
            sent.wait_for_publish(SOON_S)
            assert sent.is_published()
        finally:
            client.disconnect()
            client.loop_stop()


def connected(board: SpeakingBoard) -> mqtt.Client:
    """An MQTT connection as the board's link says."""
    link = board.link
    certificate = board.folder / "client.pem"
    certificate.write_text(link.certificate)
    context = ssl.create_default_context(cadata=link.ca)
    context.load_cert_chain(certificate, board.folder / "mqtt.key")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=board.device_id, protocol=mqtt.MQTTv311)
    client.tls_set_context(context)
    client.connect(str(urlsplit(link.url).hostname), board.port)
    return client


def listened(port: int) -> bool:
    """Whether somebody listens on this port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true: Callable[[], object], *, seconds: float = SOON_S) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.02)
