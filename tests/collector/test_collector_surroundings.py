"""What the collector meets in its folder, and what it shows: settings, stores of others, Prometheus, the command."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.errors import CollectorFailed
from edge.collector import client, records
from edge.collector.ingest_loop import STARTING
from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.ports import free_port
from edge.settings import render
from edge.telemetry import query
from edge.telemetry.alerts import ALERTS_TOML
from edge.telemetry.store import Store
from tests.collector.fleets import Reporter, add_device, connected, eventually, make_fleet, stored

BOARD = "b-0000000000000001"
EDGE = str(Path(sys.executable).with_name("edge"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetFolder]:
    folder = make_fleet(tmp_path / "f")
    add_device(folder, "one", BOARD)
    yield folder
    client.stop(folder)


def waits_for(fleet: FleetFolder) -> str:
    return str(eventually(lambda: (w := client.status(fleet).waits_for) != STARTING and w))


def edge(fleet: FleetFolder, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([EDGE, *arguments], cwd=fleet.path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    return done


def test_a_store_that_is_none_is_left_alone_and_waited_for(fleet: FleetFolder) -> None:
    records.make_folder(fleet)
    fleet.store.write_bytes(b"torn" * 5000)
    client.ensure(fleet)
    assert "store.sqlite" in waits_for(fleet)
    assert fleet.store.read_bytes() == b"torn" * 5000
    fleet.store.rename(fleet.store.with_suffix(".bad"))
    connected(fleet)


def test_a_store_that_is_deleted_or_replaced_while_it_collects_is_begun_anew_and_the_break_is_stated(
    fleet: FleetFolder,
) -> None:
    client.ensure(fleet)
    with Reporter(fleet, BOARD) as board:
        board.measure(3)
        assert board.drained()
        fleet.store.unlink()
        board.measure(2)
        assert board.drained()
        assert stored(fleet, BOARD) == [4, 5]
        fleet.store.rename(fleet.store.with_suffix(".away"))
        fleet.store.mkdir()
        board.measure(1)
        assert not board.drained(1.0)
        assert "store.sqlite" in waits_for(fleet)
        fleet.store.rmdir()
        assert board.drained()
    with Store.open(fleet.store) as store:
        (stream,) = query.streams(store)
    assert (stream.high_water, stream.samples, stream.breaks) == (6, 1, 5)


def test_a_store_of_a_newer_edge_is_left_alone(fleet: FleetFolder) -> None:
    client.ensure(fleet)
    connected(fleet)
    client.stop(fleet)
    with sqlite3.connect(fleet.store) as store:
        store.execute("PRAGMA user_version=999")
    client.ensure(fleet)
    assert "newer" in waits_for(fleet)


def test_settings_that_change_hold_without_a_restart_and_broken_ones_do_not(fleet: FleetFolder) -> None:
    running = client.ensure(fleet)
    port = free_port()
    fleet.edge_toml.write_text("nonsense = ")
    log = fleet.telemetry / records.LOG
    eventually(lambda: "goes on as before" in log.read_text())
    fleet.edge_toml.write_text(render(replace(fleet.config, metrics_port=port)))
    found = eventually(lambda: (r := client.running(fleet)) and r.metrics_port == port and r)
    assert found.pid == running.pid  # type: ignore[attr-defined]


def test_prometheus_reads_the_fleet_and_nothing_else(fleet: FleetFolder) -> None:
    Inventory(fleet).update("one", lambda device: replace(device, public_key="ab" * 32, port=free_port()))
    url = client.ensure(fleet).metrics_url
    with Reporter(fleet, BOARD) as board:
        board.measure(3)
        assert board.drained()
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'edge_board_last_seen_seconds{device="one"}' in text
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url.replace("/metrics", "/"), timeout=10)


def test_a_port_for_prometheus_that_is_taken_is_said(tmp_path: Path, fleet: FleetFolder) -> None:
    taken = client.ensure(fleet).metrics_port
    other = make_fleet(tmp_path / "other", metrics_port=taken)
    with pytest.raises(CollectorFailed, match=str(taken)):
        client.ensure(other)


def test_the_command_starts_it_shows_it_and_ends_it(fleet: FleetFolder) -> None:
    assert "[collector.absent]" in edge(fleet, "collect", "status", code=4).stderr
    assert "runs now" in edge(fleet, "collect").stderr
    assert json.loads(edge(fleet, "collect", "--json").stdout)["started"] is False
    with Reporter(fleet, BOARD) as board:
        board.measure(3)
        assert board.drained()
    shown = edge(fleet, "collect", "status").stdout
    assert "mosquitto at 127.0.0.1" in shown
    assert "3 new samples" in shown
    assert json.loads(edge(fleet, "collect", "status", "--json").stdout)["stored"] == 3
    assert json.loads(edge(fleet, "collect", "stop", "--json").stdout) == {"stopped": True}
    assert "does not run" in edge(fleet, "collect", "stop").stderr
    assert stored(fleet, BOARD) == [1, 2, 3]


def test_an_alert_begins_once_and_is_told(fleet: FleetFolder, tmp_path: Path) -> None:
    Inventory(fleet).update("one", lambda device: replace(device, public_key="ab" * 32, port=free_port()))
    told = tmp_path / "told"
    command = json.dumps(["sh", "-c", f"cat >> {told}; echo >> {told}"])
    (fleet.path / ALERTS_TOML).write_text(f'[room]\nwhen = "temperature_c > 50"\ncommand = {command}\n')
    client.ensure(fleet)
    with Reporter(fleet, BOARD) as board:
        board.measure(3)
        assert board.drained()
        eventually(told.exists)
        board.measure(3)
        assert board.drained()
    time.sleep(1.5)
    (only,) = told.read_text().splitlines()
    assert json.loads(only)["alert"] == "room"
