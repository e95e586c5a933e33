"""`edge telemetry` against a fleet folder's store, as a user calls it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

from agent.contract.errors import ExitCode
from edge.config import FleetFolder
from edge.inventory import Device, Inventory
from tests.cli.conftest import Edge, edge
from tests.telemetry.boards import KNOWN, ROCK, birth, event, model, open_store, sample, telemetry

__all__ = ["edge"]


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    """Two boards, of which one has reported: thirty samples, of which three were dropped, and an event."""
    folder = FleetFolder.create(tmp_path / "fleet", "kitchen")
    for device in KNOWN.values():
        Inventory(folder).add(
            Device(
                name=device.name, device_id=device.device_id, host="127.0.0.1", user="pi",
                host_key="ssh-ed25519 AAAA", fingerprint="SHA256:x",
            )
        )  # fmt: skip
    now = time.time()
    with open_store(folder.store) as store:
        store.ingest(
            [
                birth(rx=now),
                telemetry(
                    [sample(n, models=[model(10 * n, failed=n // 10)]) for n in range(1, 28)], rx=now - 5
                ),
                event(28, message="it began", rx=now - 4),
                telemetry([sample(32, models=[model(320)])], gaps=[(29, 31)], rx=now),
            ]
        )
    return folder


def test_a_line_a_board_and_model(edge: Edge, folder: FleetFolder) -> None:
    ended = edge("telemetry", "query", "--since", "10s", folder=folder.path)
    (line,) = [line for line in ended.out.splitlines() if "digits@1" in line]
    assert line.split()[:5] == ["pi", "online", "digits@1", "100", "10.0"]
    assert "50.0%" in line


def test_as_json_a_board_is_what_the_store_knows(edge: Edge, folder: FleetFolder) -> None:
    (board,) = edge("telemetry", "query", "--json", "--since", "10s", folder=folder.path).json
    assert (board["name"], board["gaps"], board["rates"][0]["requests"]) == ("pi", 3, 100)
    (board,) = edge("telemetry", "query", "--json", "--model", "others", folder=folder.path).json
    assert board["rates"] == []


def test_a_board_that_never_reported_is_shown_when_asked_for(edge: Edge, folder: FleetFolder) -> None:
    ended = edge("telemetry", "query", "--device", "rock", folder=folder.path)
    assert "never" in ended.out


def test_streams_say_what_is_missing_and_why(edge: Edge, folder: FleetFolder) -> None:
    ended = edge("telemetry", "query", "--streams", folder=folder.path)
    assert ended.out.splitlines()[1].split()[2:] == ["32", "28", "1", "3", "0"]
    assert "numbers 29 to 31 are missing, dropped by the board" in ended.err
    assert "nothing is missing" not in ended.err


def test_nothing_is_missing_is_said(edge: Edge, folder: FleetFolder) -> None:
    with open_store(folder.store) as store:
        store.ingest([telemetry([1], device=ROCK)])
    ended = edge("telemetry", "query", "--streams", "--device", "rock", folder=folder.path)
    assert "nothing is missing" in ended.err


def test_events_and_the_last_samples_are_shown(edge: Edge, folder: FleetFolder) -> None:
    assert "it began" in edge("telemetry", "query", "--events", folder=folder.path).out
    shown = edge("telemetry", "query", "--last", "2", folder=folder.path).out.splitlines()
    assert [line.split()[4] for line in shown[1:]] == ["27", "32"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_every_form_of_export_holds_all_samples(edge: Edge, folder: FleetFolder, ending: str) -> None:
    file = folder.path / f"out.{ending}"
    ended = edge("telemetry", "export", file, "--json", folder=folder.path)
    assert ended.json["rows"] == 28
    if ending == "parquet":
        rows = pyarrow.parquet.read_table(file).to_pylist()
    elif ending == "csv":
        rows = list(csv.DictReader(file.open()))
    else:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [int(row["seq"]) for row in rows] == [*range(1, 28), 32]
    assert {row["device"] for row in rows} == {"pi"}
    assert [int(row["requests"]) for row in rows][-1] == 320
    assert [path.name for path in folder.path.glob(".part-*")] == []


def test_another_ending_is_refused_before_anything_is_written(edge: Edge, folder: FleetFolder) -> None:
    ended = edge("telemetry", "export", folder.path / "out.xlsx", folder=folder.path)
    assert (ended.code, ".parquet, .csv, .jsonl" in ended.err) == (ExitCode.USAGE, True)


def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(
    folder: FleetFolder, tmp_path: Path
) -> None:
    hidden = tmp_path / "without" / "sitecustomize.py"
    hidden.parent.mkdir()
    hidden.write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'pyarrow' else find(name, *more)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "edge", "telemetry", "export", "out.parquet"],
        cwd=folder.path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{hidden.parent}:{Path(__file__).parents[2]}"},
    )  # fmt: skip
    assert ended.returncode == ExitCode.FAILED
    assert "pip install '.[parquet]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_store_it_is_said_that_there_is_nothing_yet(edge: Edge, tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "empty", "kitchen")
    ended = edge("telemetry", "query", folder=folder.path)
    assert (ended.code, "there is no telemetry yet" in ended.err) == (ExitCode.INCOMPLETE, True)


def test_tail_follows_the_store_until_it_is_interrupted(folder: FleetFolder) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "telemetry", "tail", "--json"],
        cwd=folder.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    with open_store(folder.store) as store:
        lines: list[dict[str, object]] = []
        for number in range(1, 60):  # it may not look yet when the first ones come
            store.ingest([telemetry([number], device=ROCK)])
            time.sleep(0.1)
        store.ingest([event(60, device=ROCK)])
        while not lines or "code" not in lines[-1]:
            lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    assert (process.wait(10), process.stderr and process.stderr.read()) == (0, "")
    numbers = [line["seq"] for line in lines]
    assert numbers == list(range(numbers[0], 61)), "nothing twice, nothing left out"
    assert {line["name"] for line in lines} == {"rock"}
