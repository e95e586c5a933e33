"""What a user gets wrong: the exit code, the stable code, and a sentence that helps."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.config import FleetFolder
from tests.cli.conftest import Edge

EDGE = str(Path(sys.executable).with_name("edge"))


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("", 2, "Usage: edge"),
        ("flsh", 2, "did you mean `flash`"),
        ("device ad", 2, "add"),
        ("flash", 2, "Missing argument"),
        ("flash board", 2, "name a release, or say --previous [usage.option-invalid]"),
        ("flash board digits@1 --previous", 2, "[usage.option-invalid]"),
        ("flash board digits@1", 2, "[device.unknown]"),
        (
            "flash board digits@1 --engine-wheel x.whl",
            2,
            "--engine-wheel-sha256, both [usage.option-invalid]",
        ),
        ("flash board digits@1 --port 70000", 2, "not in the range"),
        ("device show board", 2, "[device.unknown]"),
        ("device add me@@host", 2, "an address is [USER@]HOST[:PORT] [usage.option-invalid]"),
        ("device add board --replace-key", 2, "[device.unknown]"),
        ("device add me@127.0.0.1:1 --name Bad/Name", 2, "[name.invalid]"),
        ("device add me@127.0.0.1:1", 4, "[ssh.unreachable]"),
        ("device add me@no-such-host.invalid", 4, "[ssh.no-such-host]"),
        ("device remove board -y", 2, "[device.unknown]"),
        ("doctor board", 2, "[device.unknown]"),
        ("infer board nothing.npy", 1, "[data.unreadable]"),
        ("inspect nothing", 2, "there is no such folder [bundle.missing]"),
        ("inspect edge.toml", 2, "it is a file [bundle.missing]"),
        ("inspect digits@1", 2, "[release.unknown]"),
        ("publish digits .", 2, "[bundle.missing]"),
        ("profile show raspbery-pi-5", 2, "did you mean `raspberry-pi-5`"),
        ("convert nothing.onnx --for raspbery-pi-5 -o out", 2, "[profile.unknown]"),
        ("convert nothing.onnx --for raspberry-pi-5 -o out", 1, "[model.unreadable]"),
        ("convert edge.toml --for raspberry-pi-5 -o out", 2, "[model.format-unknown]"),
        ("convert m.onnx --for raspberry-pi-5 -o out --input-scale 1,0", 2, "the lower one first"),
        ("convert m.onnx --for raspberry-pi-5 -o out --input-scale nan,1", 2, "[usage.option-invalid]"),
        ("convert m.onnx --for raspberry-pi-5", 2, "Missing option"),
        ("sim up 0", 2, "not in the range"),
        ("sim break sim-1 cut", 2, "[device.unknown]"),
        ("completion tcsh", 2, "tcsh"),
        ("init .", 1, "[fleet.folder-exists]"),
        ("repo refresh", 0, "nothing is due"),
        ("device list", 0, ""),
    ],
)
def test_what_a_command_ends_with(
    edge: Edge, fleet: FleetFolder, command: str, code: int, words: str
) -> None:
    before = sorted(fleet.path.rglob("*.json"))
    ended = edge(*command.split(), folder=fleet.path)
    assert (ended.code, words in ended.err) == (code, True), ended
    assert sorted(fleet.path.rglob("*.json")) == before


@pytest.mark.parametrize("command", ["device list", "flash board digits@1", "publish digits .", "sim up 1"])
def test_outside_a_fleet_folder(edge: Edge, command: str) -> None:
    ended = edge(*command.split())
    assert (ended.code, "[fleet.folder-missing]" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("budget", "words"),
    [("p95_ms", "no number"), ("speed=3", "one of"), ("p95_ms=0", "above 0"), ("memory_mb=nan", "above 0")],
)
def test_a_budget_that_is_none(
    edge: Edge, fleet: FleetFolder, budget: str, words: str, tmp_path: Path
) -> None:
    from tests.repository.fleet import make_bundle

    bundle = make_bundle(tmp_path / "bundle")
    ended = edge("publish", "digits", bundle.folder, "--budget", budget, folder=fleet.path)
    assert (ended.code, words in ended.err) == (2, True)


@pytest.mark.parametrize(
    "command", ["device show board", "flsh", "flash", "profile show x", "inspect nothing"]
)
def test_an_error_is_one_json_document_too(edge: Edge, fleet: FleetFolder, command: str) -> None:
    ended = edge(*command.split(), "--json", folder=fleet.path)
    assert ended.code == 2
    error = ended.json["error"]
    assert set(error) == {"code", "message", "hint", "facts"}
    assert error["message"] in ended.err


def test_a_folder_that_can_not_be_written(edge: Edge, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = edge("init", tmp_path / "file" / "below", "--name", "x")
    assert ended.code in (1, 2)
    assert ended.err.startswith("error: ") or "Usage" in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_says_so(fleet: FleetFolder, number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [EDGE, "device", "add", f"me@127.0.0.1:{silent.getsockname()[1]}"],
            cwd=fleet.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        silent.settimeout(30)
        link, _ = silent.accept()
        time.sleep(0.2)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=20)
        link.close()
    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert out == b""


def test_nobody_reads_any_more() -> None:
    process = subprocess.Popen([EDGE, "profile", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 1


def test_nothing_can_be_written() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([EDGE, "profile", "list"], stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert b"[machine.refused]" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed(fleet: FleetFolder, closed: str) -> None:
    ended = subprocess.run(
        ["sh", "-c", f'"$0" device remove board {closed}', EDGE], cwd=fleet.path, capture_output=True
    )
    assert ended.returncode == 2
    assert b"Traceback" not in ended.stderr


def test_letters_that_the_terminal_does_not_have(fleet: FleetFolder) -> None:
    ended = subprocess.run(
        [EDGE, "repo", "refresh"],
        cwd=fleet.path,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert ended.returncode == 0
    assert ended.stderr.startswith(b"? nothing is due")


def test_json_of_lists(edge: Edge, fleet: FleetFolder) -> None:
    assert edge("device", "list", "--json", folder=fleet.path).json == []
    assert edge("repo", "releases", "--json", folder=fleet.path).json == []
    assert edge("sim", "list", "--json", folder=fleet.path).json == []
    names = {profile["name"] for profile in edge("profile", "list", "--json").json}
    assert {"raspberry-pi-5", "jetson-orin-nano", "sim-onnx"} <= names
    refreshed = edge("repo", "refresh", "--json", folder=fleet.path).json
    assert refreshed["renewed"] == []
    assert {"root", "targets", "timestamp"} <= set(refreshed["expires"])
    assert json.dumps(refreshed)
