"""What the collector costs, and how many boards one takes: CPU time a message, lag, loss.

    python benchmarks/collector.py [--messages 20000] [--boards 5000] [--seconds 60]

A real collector process, a real mosquitto over TLS with the configuration that edge writes. The boards are a generator
in a process of its own: a few connections, each of which speaks for many boards, which this benchmark's access list
alone allows. CPU time is the collector process's own, user and system, and comparable between machines' moments; lag is
from a message's sending to the arrival of its acknowledgement, which is after the commit.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.contract.codec import encode  # noqa: E402
from agent.contract.messages import BoardCounters, ModelCounters, Sample, Telemetry  # noqa: E402
from agent.contract.sketch import Sketch, bucket  # noqa: E402
from agent.contract.topics import ROOT as TOPICS  # noqa: E402
from agent.contract.topics import TopicKind, topic  # noqa: E402
from agent.system import cpu_seconds, rss_bytes  # noqa: E402
from edge.certificates import CertificateAuthority  # noqa: E402
from edge.collector import client, mosquitto, records  # noqa: E402
from edge.collector.access import AccessList  # noqa: E402
from edge.collector.broker import write_server_files  # noqa: E402
from edge.config import FleetFolder  # noqa: E402
from edge.inventory import Device  # noqa: E402
from edge.ports import free_port  # noqa: E402
from edge.settings import render  # noqa: E402
from edge.telemetry.store import Store  # noqa: E402

CONNECTIONS = 8
BOOT = "00000000000000aa"
WALL = 1234567890.5
SPEAKER = "speaker"
"""The generator's certificate."""
PATIENCE_S = 20.0
WATCHED = 100
"""Boards whose acknowledgements the generator times."""


@dataclass(frozen=True)
class Bench:
    """A fleet folder with boards, and the broker of its own."""

    fleet: FleetFolder
    devices: tuple[str, ...]
    port: int


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--boards", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = f"{os.cpu_count()} cores"
    print(f"\nPython {sys.version.split()[0]}, {cores}, load average {os.getloadavg()[0]:.1f}\n")
    print("| samples a message | bytes | messages/s | CPU a message, µs | goal |")
    print("|---:|---:|---:|---:|---:|")
    for samples, goal in ((1, 90), (10, 130)):
        found = [per_message(samples, options.messages) for _ in range(options.rounds)]
        cpu = [each["cpu_us"] for each in found]
        shown = f"{statistics.median(cpu):.0f} ({min(cpu):.0f} to {max(cpu):.0f})"
        print(
            f"| {samples} | {found[0]['bytes']:.0f} | {found[0]['rate']:.0f} | {shown} | ≤ {goal} |",
            flush=True,
        )
    if options.boards:
        whole_fleet(options.boards, options.seconds)


def per_message(samples: int, messages: int) -> dict[str, float]:
    """One run of a thousand boards, two messages a second each."""
    with bench(1000) as setup:
        pid = connected(setup.fleet)
        time.sleep(1.0)
        before = cpu_seconds(pid)
        report = generate(setup, samples=samples, rate=2000, messages=messages)
        wait_for(setup.fleet, messages * samples)
        spent = cpu_seconds(pid) - before
        return {"cpu_us": spent / messages * 1e6, "bytes": report["bytes"], "rate": report["rate"]}


def whole_fleet(boards: int, seconds: int) -> None:
    """Every board one message a second."""
    with bench(boards) as setup:
        pid = connected(setup.fleet)
        before = cpu_seconds(pid)
        report = generate(setup, samples=1, rate=boards, messages=boards * seconds)
        wait_for(setup.fleet, boards * seconds)
        stored, lost = account(setup.fleet, boards, seconds)
        cpu = (cpu_seconds(pid) - before) / (boards * seconds) * 1e6
        print(f"\n{boards} boards, one message a second each, for {seconds} s\n")
        print("| sent/s | stored | lost | lag p50, ms | lag p99, ms | CPU a message, µs | RSS, MB |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        print(
            f"| {report['rate']:.0f} | {stored} | {lost} | {report['p50'] * 1e3:.0f} "
            f"| {report['p99'] * 1e3:.0f} | {cpu:.0f} | {rss_bytes(pid) / 1e6:.0f} |"
        )


@contextmanager
def bench(boards: int) -> Iterator[Bench]:
    """A fleet folder whose broker lets the generator speak for everyone, and its collector."""
    with tempfile.TemporaryDirectory() as name:
        path, port = Path(name) / "fleet", free_port()
        fleet = FleetFolder.create(path, "bench")
        config = replace(fleet.config, mqtt_url=f"mqtts://127.0.0.1:{port}", mqtt_ca="broker/ca.pem")
        fleet.edge_toml.write_text(render(config))
        fleet = FleetFolder.open(path)
        devices = tuple(f"b-{number:016x}" for number in range(boards))
        for number, device in enumerate(devices):
            add(fleet, f"board-{number}", device)
        broker = start_mosquitto(fleet, port)
        try:
            client.ensure(fleet)
            yield Bench(fleet, devices, port)
        finally:
            client.stop(fleet)
            broker.send_signal(signal.SIGTERM)
            broker.wait()


def add(fleet: FleetFolder, name: str, device_id: str) -> None:
    """A board in the inventory that nobody looks for a way to."""
    board = Device(
        name=name,
        device_id=device_id,
        host="127.0.0.1",
        user="pi",
        host_key="ssh-ed25519 A",
        fingerprint="SHA256:a",
    )
    (fleet.devices / f"{name}.json").write_bytes(encode(board) + b"\n")


def start_mosquitto(fleet: FleetFolder, port: int) -> subprocess.Popen[bytes]:
    """As edge configures it, but for the generator's right to speak for everyone."""
    folder = fleet.path / "broker"
    folder.mkdir()
    authority = CertificateAuthority(fleet.keys)
    access = AccessList(fleet.config.fleet, records.enrolled_id(prepared(fleet)))
    write_server_files(folder, access, authority, name="127.0.0.1")
    with (folder / mosquitto.ACCESS).open("a") as rules:
        rules.write(f"\nuser {SPEAKER}\ntopic readwrite {TOPICS}/{fleet.config.fleet}/#\n")
    speaker = authority.client(SPEAKER)
    (folder / "speaker.pem").write_text(speaker.certificate + speaker.key)
    listener = mosquitto.Listener(port=port, address="127.0.0.1", files=folder, alone=True)
    text = mosquitto.render(listener).replace("use_username_as_clientid true\n", "")
    (folder / mosquitto.CONFIGURATION).write_text(text)
    program = mosquitto.find()
    if program is None:
        raise SystemExit("mosquitto is not installed")
    return subprocess.Popen([str(program), "-c", str(folder / mosquitto.CONFIGURATION)])


def prepared(fleet: FleetFolder) -> FleetFolder:
    """With its folder for telemetry."""
    records.make_folder(fleet)
    return fleet


def connected(fleet: FleetFolder) -> int:
    """Wait until the collector takes messages; its process id."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = client.status(fleet)
        if found.connected:
            return found.pid
        time.sleep(0.05)
    raise SystemExit(f"the collector waits for: {found.waits_for}")


def wait_for(fleet: FleetFolder, stored: int) -> None:
    """Until so many samples are stored, or nothing moves any more."""
    last, since = -1, time.monotonic()
    while (now := client.status(fleet).stored) < stored and time.monotonic() - since < PATIENCE_S:
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.2)


def account(fleet: FleetFolder, boards: int, seconds: int) -> tuple[int, int]:
    """Samples in the store, and those that are missing."""
    with Store.open(fleet.store) as store:
        (count,) = store.connection.execute("SELECT count(*) FROM samples").fetchone()
    return count, boards * seconds - count


def generate(setup: Bench, *, samples: int, rate: float, messages: int) -> dict[str, float]:
    """Have a process of its own send messages, all boards in turn, and time the acknowledgements of some."""
    order = {
        "port": setup.port, "folder": str(setup.fleet.path / "broker"), "fleet": setup.fleet.config.fleet,
        "devices": setup.devices, "samples": samples, "rate": rate, "messages": messages,
    }  # fmt: skip
    command = [sys.executable, __file__, "--generate"]
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    report: dict[str, float] = json.loads(done.stdout)
    return report


def template(device: str, samples: int) -> bytes:
    """A message of a board with one model, its numbers left open; as a board's agent writes it."""
    sketch = Sketch({str(number): 40 for number in range(bucket(8.0), bucket(8.0) + 18)}, 9000.5)
    board = BoardCounters(
        cpu_s=1234.56, agent_cpu_s=123.45, memory_used_bytes=812_000_000, memory_total_bytes=4_000_000_000,
        agent_memory_bytes=91_000_000, disk_free_bytes=20_000_000_000, uptime_s=86_400.5, temperature_c=51.2,
        network_sent_bytes=123_456_789, network_received_bytes=987_654_321,
    )  # fmt: skip
    model = ModelCounters(
        name="digits", release="digits@2", requests=720, errors={}, batches=720, queue=0, compute_s=5.5,
        latency_ms=sketch, compute_ms=sketch,
    )  # fmt: skip
    message = Telemetry(
        device=device, boot=BOOT, clock_synchronised=True, sent_monotonic=100.5,
        samples=tuple(
            Sample(seq=9_000_000 + number, wall=WALL, monotonic=90.5, board=board, models=(model,))
            for number in range(samples)
        ),
    )  # fmt: skip
    return encode(message).replace(b"%", b"%%")


class Generator:
    """The boards."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.devices = list(order["devices"])
        self.samples, self.rate = int(order["samples"]), float(order["rate"])
        self.messages, self.fleet = int(order["messages"]), str(order["fleet"])
        self.sent_at: dict[tuple[str, int], float] = {}
        self.lags: list[float] = []
        self.links = [self._connect(order, number) for number in range(CONNECTIONS)]
        self.taken = 0
        self.lock = threading.Lock()
        for link in self.links:
            threading.Thread(target=self._count, args=(link,), daemon=True).start()
        self.listener = self._listen(order)

    def run(self) -> dict[str, float]:
        """Send everything at its time; what there is to say of it."""
        topics = [topic(self.fleet, device, TopicKind.TELEMETRY).encode() for device in self.devices]
        templates = [self._open_numbers(template(device, self.samples)) for device in self.devices]
        began, size, step = time.monotonic(), 0, max(1, int(self.rate / 50))
        for first in range(0, self.messages, step):
            out: list[list[bytes]] = [[] for _ in self.links]
            for number in range(first, min(first + step, self.messages)):
                turn, index = divmod(number, len(self.devices))
                seq = turn * self.samples + 1
                payload = templates[index] % tuple(range(seq, seq + self.samples))
                if index < WATCHED:
                    self.sent_at[self.devices[index], seq + self.samples - 1] = time.monotonic()
                out[index % CONNECTIONS].append(published(topics[index], payload, number % 65_535 + 1))
                size = len(payload)
            for link, packets in zip(self.links, out, strict=True):
                link.sendall(b"".join(packets))
            time.sleep(max(0.0, began + (first + step) / self.rate - time.monotonic()))
        passed = time.monotonic() - began
        self._wait_until_taken()
        time.sleep(1.0)
        lags = sorted(self.lags) or [float("nan")]
        return {
            "bytes": size,
            "rate": self.messages / passed,
            "p50": lags[len(lags) // 2],
            "p99": lags[int(len(lags) * 0.99)],
        }

    def _open_numbers(self, text: bytes) -> bytes:
        for number in range(self.samples):
            text = text.replace(b'"seq":%d' % (9_000_000 + number), b'"seq":%d')
        return text

    def _connect(self, order: dict[str, Any], number: int) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", int(order["port"])))
        link = speaker_context(order).wrap_socket(plain, server_hostname="127.0.0.1")
        link.sendall(hello(f"{SPEAKER}-{number}"))
        if link.recv(4)[3]:
            raise SystemExit("the broker refuses")
        return link

    def _listen(self, order: dict[str, Any]) -> mqtt.Client:
        """Hear what is acknowledged to some boards."""
        listener = mqtt.Client(CallbackAPIVersion.VERSION2, f"{SPEAKER}-hears")
        listener.tls_set_context(speaker_context(order))
        listener.on_message = self._heard
        listener.connect("127.0.0.1", int(order["port"]), keepalive=600)
        listener.subscribe([(topic(self.fleet, each, TopicKind.ACK), 0) for each in self.devices[:WATCHED]])
        listener.loop_start()
        return listener

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        ack = json.loads(message.payload)
        if (sent := self.sent_at.pop((ack["device"], ack["seq"]), None)) is not None:
            self.lags.append(time.monotonic() - sent)

    def _count(self, link: ssl.SSLSocket) -> None:
        """All that comes are acknowledgements of the broker, of four bytes each."""
        heard = 0
        while data := link.recv(65_536):
            heard += len(data)
            whole, heard = divmod(heard, 4)
            with self.lock:
                self.taken += whole

    def _wait_until_taken(self) -> None:
        """A connection that is closed while something is on its way loses it."""
        until = time.monotonic() + 120
        while self.taken < self.messages and time.monotonic() < until:
            time.sleep(0.05)


def speaker_context(order: dict[str, Any]) -> ssl.SSLContext:
    """With the certificate that speaks for everyone."""
    folder = Path(str(order["folder"]))
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "speaker.pem")
    return context


def hello(client_id: str) -> bytes:
    """A CONNECT of MQTT 3.1.1 with a clean session and no keepalive."""
    body = b"\0\4MQTT\x04\x02\0\0" + len(client_id).to_bytes(2, "big") + client_id.encode()
    return bytes([0x10, len(body)]) + body


def published(topic: bytes, payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH with acknowledgement."""
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + payload
    length, written = len(body), bytearray(b"\x32")
    while length >= 0x80:
        written.append(length & 0x7F | 0x80)
        length >>= 7
    written.append(length)
    return bytes(written) + body


if __name__ == "__main__":
    if "--generate" in sys.argv:
        print(json.dumps(Generator(json.loads(sys.stdin.read())).run()))
    else:
        main()
