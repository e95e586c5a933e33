"""A small collector: takes each boot's numbers in order, and acknowledges them. Its rows live in memory."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from agent.contract.codec import decode, encode
from agent.contract.messages import Ack, EventMessage, Telemetry
from agent.contract.topics import TopicKind, parse, topic
from edge.certificates import CertificateAuthority

NAME = "collector"
FLEET = "test-abcdef"


class Stream:
    """One boot, as it arrived."""

    def __init__(self) -> None:
        self.high = 0
        self.samples: list[int] = []
        self.events: list[EventMessage] = []
        self.gaps: set[int] = set()
        self.duplicates = 0

    @property
    def whole(self) -> bool:
        """Every number up to the highest is a row, once, or in a stated gap."""
        rows = [*self.samples, *(event.seq for event in self.events)]
        return len(rows) == len(set(rows)) and {*rows, *self.gaps} == set(range(1, self.high + 1))


class Collector:
    """Connects to the broker at `port` and keeps on."""

    def __init__(self, folder: Path, authority: CertificateAuthority, port: int, *, credit: int = 16) -> None:
        self.streams: dict[str, Stream] = {}
        self.messages: list[tuple[TopicKind, bytes]] = []
        self.retained: dict[TopicKind, bytes] = {}
        self.credit = credit
        self.answers = True
        self.lock = threading.Lock()
        pair = authority.client(NAME)
        (folder / "collector.pem").write_text(pair.certificate + pair.key)
        (folder / "collector-ca.pem").write_text(authority.certificate)
        context = ssl.create_default_context(cafile=str(folder / "collector-ca.pem"))
        context.load_cert_chain(folder / "collector.pem")
        context.check_hostname = False
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, NAME, protocol=mqtt.MQTTv311)
        self.client.tls_set_context(context)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda *_: self.client.subscribe("edge/v1/#", qos=1)
        self.client.on_message = self._on_message
        self.client.connect_async("127.0.0.1", port, keepalive=5)
        self.client.loop_start()

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def wait(self, true: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with self.lock:
                if true():
                    return
            time.sleep(0.02)
        said = {boot: (one.high, one.duplicates) for boot, one in self.streams.items()}
        raise AssertionError(f"it did not come to {what}: {said}")

    def acknowledge(self, device: str, boot: str, seq: int, *, collector: str = NAME) -> None:
        ack = Ack(device=device, collector=collector, boot=boot, seq=seq, credit=self.credit)
        self.client.publish(topic(FLEET, device, TopicKind.ACK), encode(ack), qos=1, retain=True)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        found = parse(message.topic)
        with self.lock:
            self.messages.append((found.kind, bytes(message.payload)))
            if message.retain or found.kind in (TopicKind.STATE, TopicKind.BIRTH, TopicKind.REPORTED):
                self.retained[found.kind] = bytes(message.payload)
            if found.kind is TopicKind.TELEMETRY and self.answers:
                self._take(decode(Telemetry, message.payload))
            if found.kind is TopicKind.EVENT and self.answers:
                self._take(decode(EventMessage, message.payload))

    def _take(self, message: Telemetry | EventMessage) -> None:
        stream = self.streams.setdefault(message.boot, Stream())
        gaps = {number for gap in message.gaps for number in range(gap.first, gap.last + 1)}
        items = message.samples if isinstance(message, Telemetry) else (message,)
        self._skip(stream, gaps)
        for item in items:
            if item.seq <= stream.high:
                stream.duplicates += 1
            elif item.seq == stream.high + 1:
                stream.high = item.seq
                if isinstance(item, EventMessage):
                    stream.events.append(item)
                else:
                    stream.samples.append(item.seq)
                self._skip(stream, gaps)
        self.acknowledge(message.device, message.boot, stream.high)

    def _skip(self, stream: Stream, gaps: set[int]) -> None:
        while stream.high + 1 in gaps:
            stream.high += 1
            stream.gaps.add(stream.high)
