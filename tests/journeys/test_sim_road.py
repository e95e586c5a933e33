"""A simulated board from bare to wiped, with the command that a user types, and what it tells the laptop meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from edge.collector import records
from edge.config import FleetFolder
from tests.journeys.arrivals import all_streams, arrive, way
from tests.journeys.boards import SimBoard
from tests.journeys.bundles import digits
from tests.journeys.laptop import Client, Laptop, forwarded, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a digit."""
    path = tmp_path_factory.mktemp("digit") / "one.npy"
    np.save(path, digits()[0][1])
    return path


@pytest.fixture(scope="module")
def board(sims: Laptop, one: Path) -> SimBoard:
    """A board that was bare, and serves `digits@1` now."""
    sims.settings(interval_s="0.5")
    board = SimBoard.take(sims, 1)
    name = board.name
    probed = sims.does("device", "probe", name, "--json").json
    assert (probed["profile"], probed["facts"]["simulated"]) == ("sim-onnx", True)
    assert "[board.not-flashed]" in sims.does("infer", name, str(one), code=1).err

    flashed = sims.does("flash", name, "digits@1")
    for word in ("runtime pushed", "installed", "trial", "confirmed", f"{name} runs digits@1"):
        assert word in flashed.err
    assert "the collector runs in the background" in flashed.err
    assert flashed.out == ""
    return board


def test_a_flash_brings_the_boards_telemetry_to_the_laptop(sims: Laptop, board: SimBoard) -> None:
    arrive(sims, 4)
    assert way(sims, board.name)["tunnel"] == "up"

    os.kill(collector(sims), signal.SIGKILL)
    assert "does not run" in sims.does("collect", "status", code=4).err
    sims.does("collect")
    arrive(sims, 4)

    sims.does("sim", "break", board.name, "unplug")
    wait_until(lambda: way(sims, board.name)["tunnel"] == "down", what="the cut", seconds=60)
    sims.does("sim", "break", board.name, "mend")
    arrive(sims, 4)

    (stream,) = all_streams(sims)
    assert stream.gaps == stream.breaks == 0
    assert stream.high_water == stream.samples + stream.events


def collector(laptop: Laptop) -> int:
    found = records.read_running(FleetFolder.open(laptop.folder))
    assert found is not None
    return found.pid


def test_from_a_bare_board_to_a_wiped_one(sims: Laptop, board: SimBoard, one: Path) -> None:
    name = board.name
    sample, truth = (part[1] for part in digits())
    reported = sims.reported(name)
    assert (reported["state"], reported["current"]["models"][0]["release"]) == ("confirmed", "digits@1")
    assert reported["verified"].startswith("tuf root 1")
    assert board.links() == {"current": 1}

    agent = board.agent()
    again = sims.does("flash", name, "digits@1")
    assert "nothing to do" in again.err
    assert board.agent() == agent, "the agent was not touched"

    answered = sims.does("infer", name, str(one), "--json").json
    assert answered["answers"][0]["label"] == str(truth)
    with forwarded(sims, name) as port:
        v2 = Client(port, sample.tolist()).ask()
        assert int(np.argmax(v2["outputs"][0]["data"])) == truth
        refused_in_mid_service(sims, board, port, sample.tolist())
        replaced_and_back(sims, board, port, sample.tolist())

    opened_and_shut(sims, name, sample.tolist(), truth)

    assert "digits" in sims.does("logs", name).out
    board_folder = board.root
    assert board_folder.is_dir()
    sims.does("device", "remove", name, "--wipe", code=2)
    sims.does("device", "remove", name, "--wipe", "-y")
    assert not board_folder.exists()
    assert board.processes() == ()
    wait_until(
        lambda: not sims.does("collect", "status", "--json").json["boards"],
        what="the end of the way",
        seconds=20,
    )
    assert sims.does("device", "show", name, code=2).err.count("[device.unknown]") == 1


def opened_and_shut(sims: Laptop, name: str, sample: list[float], truth: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = str(found.getsockname()[1])
    opened = sims.does("device", "open", name, "--address", "127.0.0.1", "--port", port, "--json")
    token = opened.json["token"]
    assert "the token is shown this once" in opened.err
    trusted = ssl.create_default_context(cafile=opened.json["authority"])

    def ask(shown: str) -> int:
        request = urllib.request.Request(
            f"{opened.json['url']}/v1/models/digits:predict",
            json.dumps({"instances": [sample]}).encode(),
            {"Authorization": f"Bearer {shown}"},
        )
        with urllib.request.urlopen(request, timeout=20, context=trusted) as answer:
            return int(np.argmax(json.load(answer)["predictions"][0]))

    assert ask(token) == truth
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(token[::-1])
    shown = " ".join(sims.does("device", "show", name).out.split())
    assert f"open on 127.0.0.1 port {port}, tokens: default" in shown
    assert "[door.unknown-token]" in sims.does("device", "close", name, "--token-name", "x", code=2).err
    assert sims.does("device", "close", name, "--json").json == {"device": name, "open": False, "tokens": []}
    with pytest.raises(OSError, match="refused"):
        ask(token)


def refused_in_mid_service(sims: Laptop, board: SimBoard, port: int, sample: list[float]) -> None:
    with Client(port, sample) as client:
        refused = sims.does("flash", board.name, "digits@2", code=3)
    assert "digits@2 was refused" in refused.err
    assert "[trial.golden-disagrees]" in refused.err
    assert f"{board.name} runs digits@1, as before" in refused.err
    assert client.failed == []
    assert client.versions == ["1"]
    assert client.answered > 20
    shown = sims.does("device", "show", board.name).out
    assert "digits@1" in shown
    assert "[trial.golden-disagrees]" in shown
    assert board.links() == {"current": 1}
    assert "[trial.golden-disagrees]" in sims.does("flash", board.name, "digits@2", code=3).err


def replaced_and_back(sims: Laptop, board: SimBoard, port: int, sample: list[float]) -> None:
    with Client(port, sample) as client:
        replaced = sims.does("flash", board.name, "digits@3", "--json")
        assert (replaced.json["state"], replaced.json["changed"]) == ("confirmed", True)
        assert replaced.json["pushed_bytes"] < 200_000, "the engine was not sent again"
        wait_until(lambda: client.versions[-1] == "3", "version 3 answers")
        back = sims.does("flash", board.name, "--previous", "--json")
        assert back.json["title"] == "digits@1"
        wait_until(lambda: client.versions[-1] == "1", "version 1 answers again")
    assert client.failed == []
    assert client.versions == ["1", "3", "1"]
    assert sims.reported(board.name)["current"]["models"][0]["release"] == "digits@1"
    assert (
        json.loads((board.root / "current" / "generation.json").read_text())["models"][0]["release"]
        == "digits@1"
    )
