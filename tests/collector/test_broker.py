"""The broker's process: on loopback, the same port again, never left over, and what happens where it can't start."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.contract.errors import BrokerFailed, ConfigInvalid
from edge.certificates import CertificateAuthority
from edge.collector import broker as brokers
from edge.collector import mosquitto
from edge.collector.broker import KIND_EMBEDDED, KIND_MOSQUITTO, KIND_OWN, Broker
from edge.collector.leash import LOG_BYTES, MANY_FILES, Leashed
from edge.config import FleetFolder
from tests.collector.conftest import COLLECTOR, folder_with

BOTH = pytest.mark.parametrize("kind", [KIND_MOSQUITTO, KIND_EMBEDDED])

COLLECTOR_PROCESS = """
import sys, time
from dataclasses import replace
from pathlib import Path
from edge.certificates import CertificateAuthority
from edge.collector import broker
from edge.config import FleetFolder
folder = FleetFolder.open(Path(sys.argv[1]))
folder = replace(folder, config=replace(folder.config, mqtt_broker=sys.argv[2]))
print(broker.start(folder, sys.argv[3], CertificateAuthority(folder.keys)).pid, flush=True)
time.sleep(60)
"""


def start(fleet: FleetFolder) -> Broker:
    return brokers.start(fleet, COLLECTOR, CertificateAuthority(fleet.keys))


def gone(pid: int, *, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@BOTH
def test_it_comes_back_on_its_port(tmp_path: Path, kind: str) -> None:
    fleet = folder_with(tmp_path / "my fleet ü", mqtt_broker=kind)
    first = start(fleet)
    first.stop()
    assert not first.alive()
    again = start(fleet)
    assert (again.kind, again.host, again.port) == (kind, "127.0.0.1", first.port)
    again.stop()


@BOTH
def test_another_process_on_its_port_moves_it(tmp_path: Path, kind: str) -> None:
    fleet = folder_with(tmp_path / "f", mqtt_broker=kind)
    first, other = start(fleet), folder_with(tmp_path / "g", mqtt_broker=kind)
    (other.telemetry / "broker").mkdir(parents=True)
    state = {"pid": 1, "port": first.port}
    (other.telemetry / "broker" / "broker.json").write_text(json.dumps(state))
    second = start(other)
    assert second.port != first.port
    assert first.alive()
    assert second.alive()
    first.stop()
    second.stop()


@BOTH
def test_it_ends_with_a_collector_that_is_killed(tmp_path: Path, kind: str) -> None:
    fleet = folder_with(tmp_path / "f", mqtt_broker=kind)
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR_PROCESS, str(fleet.path), kind, COLLECTOR], stdout=subprocess.PIPE
    )
    assert collector.stdout is not None
    pid = int(collector.stdout.readline())
    collector.kill()
    collector.wait()
    assert gone(pid)


def test_one_that_was_left_over_is_ended_and_replaced(tmp_path: Path) -> None:
    fleet = folder_with(tmp_path / "f", mqtt_broker=KIND_MOSQUITTO)
    start(fleet).stop()
    folder = fleet.telemetry / "broker"
    left = subprocess.Popen([str(mosquitto.find()), "-c", str(folder / "mosquitto.conf")])
    state = json.loads((folder / "broker.json").read_text())
    (folder / "broker.json").write_text(json.dumps({**state, "pid": left.pid}))
    again = start(fleet)
    assert left.wait(5) in (0, -signal.SIGTERM)
    assert again.port == state["port"]
    again.stop()


def test_a_process_that_only_has_the_number_of_the_last_broker_is_left_alone(tmp_path: Path) -> None:
    fleet = folder_with(tmp_path / "f", mqtt_broker=KIND_MOSQUITTO)
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    folder = fleet.telemetry / "broker"
    folder.mkdir(parents=True)
    (folder / "broker.json").write_text(json.dumps({"pid": innocent.pid, "port": 1}))
    start(fleet).stop()
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


@BOTH
def test_one_that_dies_is_seen(tmp_path: Path, kind: str) -> None:
    broker = start(folder_with(tmp_path / "f", mqtt_broker=kind))
    assert broker.alive()
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    assert gone(broker.pid)
    deadline = time.monotonic() + 5
    while broker.alive():  # a process with threads is a zombie before the last of them has ended
        assert time.monotonic() < deadline
        time.sleep(0.01)
    broker.stop()


def broken_mosquitto(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the PATH, before the real one, a mosquitto that a system's policy forbids to read its configuration."""
    folder.mkdir()
    program = folder / "mosquitto"
    program.write_text("#!/bin/sh\necho Error: Unable to open config file >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_where_mosquitto_does_not_start_the_embedded_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_mosquitto(tmp_path / "bin", monkeypatch)
    broker = start(folder_with(tmp_path / "f"))
    assert broker.kind == KIND_EMBEDDED
    broker.stop()


def test_a_mosquitto_that_was_asked_for_and_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_mosquitto(tmp_path / "bin", monkeypatch)
    with pytest.raises(BrokerFailed, match="Unable to open config file"):
        start(folder_with(tmp_path / "f", mqtt_broker=KIND_MOSQUITTO))


def test_its_files_are_private(tmp_path: Path) -> None:
    fleet = folder_with(tmp_path / "f")
    start(fleet).stop()
    folder = fleet.telemetry / "broker"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.key"))


def test_a_broker_of_ones_own_is_only_named(tmp_path: Path) -> None:
    fleet = folder_with(tmp_path / "f", mqtt_url="mqtts://broker.example", mqtt_ca="ca.pem")
    with pytest.raises(ConfigInvalid, match=r"mqtt\.ca"):
        start(fleet)
    (fleet.path / "ca.pem").write_text("PEM")
    broker = start(fleet)
    assert (broker.kind, broker.host, broker.port) == (KIND_OWN, "broker.example", 8883)
    assert (broker.ca, broker.server_name, broker.pid) == ("PEM", None, None)
    assert broker.certificate_file.exists()
    assert broker.key_file.exists()
    assert broker.alive()
    broker.stop()


def test_a_log_has_an_end(tmp_path: Path) -> None:
    talk = f"""
import sys
for _ in range(3 * {LOG_BYTES} // 1000):
    try:
        sys.stderr.write("x" * 999 + chr(10))
    except OSError:
        pass
"""
    child = Leashed([sys.executable, "-c", talk], log=tmp_path / "log")
    assert gone(child.pid, seconds=20)
    assert LOG_BYTES - 8192 <= (tmp_path / "log").stat().st_size <= LOG_BYTES


def test_it_may_have_many_connections_where_a_shell_allows_few(tmp_path: Path) -> None:
    few, hard = 256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        child = Leashed(["/bin/sh", "-c", "ulimit -n"], log=tmp_path / "log")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert gone(child.pid)
    assert int((tmp_path / "log").read_text()) == min(MANY_FILES, hard)


def test_a_folder_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    fleet = folder_with(tmp_path / "f")
    fleet.telemetry.write_text("a file where the folder should be")
    with pytest.raises(BrokerFailed, match="can't be used"):
        start(fleet)
