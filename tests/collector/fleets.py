"""Fleets with a collector, and boards that speak to it as the contract has it: the board's side, in memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt

from agent.contract.codec import decode, encode
from agent.contract.messages import Ack, Birth, Presence, PresenceMessage, Telemetry
from agent.contract.samples import BoardCounters, Sample
from agent.contract.topics import TopicKind, topic
from edge.certificates import CertificateAuthority
from edge.collector import client, records
from edge.collector.records import CollectorStatus
from edge.config import FleetFolder
from edge.inventory import Device, Inventory
from edge.settings import render
from edge.telemetry.store import Store

RETRANSMIT_S = 0.3
BATCH = 10
COUNTERS = BoardCounters(
    cpu_s=1.0,
    agent_cpu_s=0.5,
    memory_used_bytes=1,
    memory_total_bytes=2,
    agent_memory_bytes=1,
    disk_free_bytes=1,
    uptime_s=1.0,
    temperature_c=61.5,
)


def make_fleet(path: Path, **settings: object) -> FleetFolder:
    """A fleet folder whose `edge.toml` says `settings`."""
    fleet = FleetFolder.create(path, "demo")
    config = replace(fleet.config, **{"mqtt_broker": "mosquitto", **settings})
    fleet.edge_toml.write_text(render(config))
    return FleetFolder.open(path)


def add_device(fleet: FleetFolder, name: str, device_id: str) -> Device:
    """A board in the inventory; it was never flashed, so nobody looks for a way to it."""
    device = Device(
        name=name,
        device_id=device_id,
        host="127.0.0.1",
        user="pi",
        host_key="ssh-ed25519 A",
        fingerprint="SHA256:a",
    )
    Inventory(fleet).add(device)
    return device


def sample(seq: int) -> Sample:
    return Sample(seq=seq, wall=time.time(), monotonic=time.monotonic(), board=COUNTERS)


class Reporter:
    """A board: its samples wait in memory until they are acknowledged, and are sent again when nothing moves."""

    def __init__(self, fleet: FleetFolder, device_id: str, boot: str = "00000000000000aa") -> None:
        self._fleet = fleet
        self.device, self.boot = device_id, boot
        self._collector = records.enrolled_id(fleet)
        self._waiting: dict[int, Sample] = {}
        self._next = 1
        self.acknowledged = 0
        self._sent = 0
        self._moved_at = 0.0
        self._changed = threading.Condition()
        self._ending = False
        self._link: mqtt.Client | None = None
        authority = CertificateAuthority(fleet.keys)
        pair = authority.client(device_id)
        self._files = [fleet.path / f"{device_id}.pem", fleet.path / f"{device_id}.ca"]
        self._files[0].write_text(pair.certificate + pair.key)
        self._files[1].write_text(authority.certificate)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join()
        self._let_go()

    def measure(self, count: int = 1) -> None:
        """Put samples into the outbox."""
        with self._changed:
            for _ in range(count):
                self._waiting[self._next] = sample(self._next)
                self._next += 1

    @property
    def measured(self) -> int:
        """How many samples there were."""
        return self._next - 1

    def drained(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was measured is acknowledged."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def say(
        self, kind: TopicKind, payload: bytes, *, device: str | None = None, retain: bool = False
    ) -> None:
        """Publish anything, past the outbox."""
        until = time.monotonic() + 10
        while self._link is None or not self._link.is_connected():
            assert time.monotonic() < until, "never connected"
            time.sleep(0.02)
        name = topic(self._fleet.config.fleet, device or self.device, kind)
        self._link.publish(name, payload, 1, retain).wait_for_publish(10)

    def _run(self) -> None:
        while not self._ending:
            if self._link is None or not self._link.is_connected():
                self._connect()
            self._resend_or_go_on()
            time.sleep(0.01)

    def _connect(self) -> None:
        self._let_go()
        found = records.read_running(self._fleet)
        if found is None or found.broker_port is None:
            time.sleep(0.05)
            return
        link = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=self.device, reconnect_on_failure=False
        )
        context = ssl.create_default_context(cafile=str(self._files[1]))
        context.load_cert_chain(self._files[0])
        link.tls_set_context(context)
        link.on_message = self._heard
        arrived = threading.Event()
        link.on_subscribe = lambda *_: arrived.set()
        lost = PresenceMessage(self.device, self.boot, 1, Presence.LOST)
        link.will_set(self._topic(TopicKind.STATE), encode(lost), 1, True)
        with contextlib.suppress(OSError, ValueError):
            link.connect("127.0.0.1", found.broker_port, keepalive=20)
            link.subscribe(self._topic(TopicKind.ACK), 1)
            link.loop_start()
            if arrived.wait(2):
                birth = Birth(
                    device=self.device, boot=self.boot, connection=1, agent_version="0", contracts=(1,),
                    profile="sim", hardware={}, models=(),
                )  # fmt: skip
                link.publish(self._topic(TopicKind.BIRTH), encode(birth), 1, True)
                self._link = link
                self._sent = 0
                return
        with contextlib.suppress(OSError):
            link.loop_stop()

    def _let_go(self) -> None:
        if self._link is not None:
            self._link.disconnect()
            self._link.loop_stop()
            self._link = None

    def _topic(self, kind: TopicKind) -> str:
        return topic(self._fleet.config.fleet, self.device, kind)

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        ack = decode(Ack, message.payload)
        if ack.collector != self._collector or ack.boot != self.boot:
            return
        with self._changed:
            if ack.seq > self.acknowledged:
                self.acknowledged = ack.seq
                self._moved_at = time.monotonic()
            for seq in [seq for seq in self._waiting if seq <= ack.seq]:
                del self._waiting[seq]
            self._changed.notify_all()

    def _resend_or_go_on(self) -> None:
        if self._link is None:
            return
        with self._changed:
            if time.monotonic() - self._moved_at > RETRANSMIT_S:
                self._sent, self._moved_at = self.acknowledged, time.monotonic()
            room = self.acknowledged + 16 * BATCH - self._sent
            todo = [seq for seq in self._waiting if self._sent < seq <= self._sent + max(0, room)]
            batches = [
                [self._waiting[seq] for seq in todo[at : at + BATCH]] for at in range(0, len(todo), BATCH)
            ]
        for batch in batches:
            message = Telemetry(
                device=self.device, boot=self.boot, samples=tuple(batch), clock_synchronised=True,
                acknowledged=self.acknowledged, sent_monotonic=time.monotonic(),
            )  # fmt: skip
            self._link.publish(self._topic(TopicKind.TELEMETRY), encode(message), 1)
            self._sent = batch[-1].seq


def stored(fleet: FleetFolder, device_id: str) -> list[int]:
    """The numbers of a board's samples in the store, in the order in which they were committed."""
    with Store.open(fleet.store) as store:
        rows = store.connection.execute(
            "SELECT seq FROM samples JOIN streams ON streams.id = samples.stream WHERE device = ? ORDER BY samples.id",
            (device_id,),
        )
        return [seq for (seq,) in rows]


def eventually(holds: Callable[[], object], *, within_s: float = 15.0) -> object:
    """What `holds` gives when it is true at last."""
    until = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)
    return found


def status(fleet: FleetFolder) -> CollectorStatus:
    return client.status(fleet)


def connected(fleet: FleetFolder) -> CollectorStatus:
    """Wait until the collector takes messages."""

    def look() -> CollectorStatus | None:
        with contextlib.suppress(Exception):
            found = client.status(fleet)
            return found if found.connected else None
        return None

    found = eventually(look)
    assert isinstance(found, CollectorStatus)
    return found


def kill_collector(fleet: FleetFolder) -> int:
    """End the collector without a word to it; its number."""
    found = records.read_running(fleet)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(found.pid, 0)
    return found.pid


def broker_pid(fleet: FleetFolder) -> int:
    return int(json.loads((fleet.telemetry / "broker" / "broker.json").read_text())["pid"])
