"""The board's own stream: an agent's process that watches a folder, a real mosquitto, a client that hears."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.codec import decode, encode
from agent.contract.manifest import Step
from agent.contract.stream import StreamConfig, StreamState
from agent.transforms.golden import GoldenSet
from edge.certificates import CertificateAuthority
from edge.collector.access import AccessList
from tests.agent.boards import DIGITS, MODELS, PROBABILITIES, digit_labels, digits
from tests.agent.conftest import RunningAgent
from tests.link.boards import LinkedBoard
from tests.link.broker import Broker
from tests.link.collector import FLEET, NAME
from tests.link.test_inference import RESULTS, Client, Line, mqtt, until

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Watching:
    """A board that watches `photos`, and a client that hears its results."""

    def __init__(self, folder: Path, authority: CertificateAuthority, broker: Broker) -> None:
        self.board = LinkedBoard(folder / "board", authority)
        bundle = self.board.bundle(
            model_file=MODELS / "digits.onnx",
            golden=GoldenSet(inputs=(digits(),)),
            inputs=[DIGITS],
            outputs=[PROBABILITIES],
            postprocessing=[Step("top-k", {"k": 2})],
            labels=LABELS,
        )
        self.board.generation(1, {"digits": bundle})
        self.board.link("current", 1)
        self.board.report_to(broker.port)
        self.photos = folder / "photos"
        self.photos.mkdir()

    def stream(self, **changed: Any) -> None:
        options = {"model": "digits", "source": str(self.photos), "rate": 20.0, **changed}
        fresh = self.board.root / "link" / ".stream.json"
        fresh.write_bytes(encode(StreamConfig(**options)))
        fresh.rename(self.board.root / "link" / "stream.json")

    def put(self, name: str, sample: int) -> None:
        """Copy a digit there, in two steps."""
        np.save(self.photos / f"{name}.part.npz.npy", digits()[sample])
        (self.photos / f"{name}.part.npz.npy").rename(self.photos / f"{name}.npy")

    def state(self) -> StreamState:
        try:
            return decode(StreamState, (self.board.root / "run" / "stream.json").read_bytes())
        except FileNotFoundError:
            return StreamState()


@pytest.fixture
def watching(tmp_path: Path, authority: CertificateAuthority, broker: Broker) -> Watching:
    (broker.folder / "acl").write_text(AccessList(FLEET, NAME, ("line-3",)).render())
    broker.kill()
    broker.start()
    pair = authority.client("line-3")
    (tmp_path / "line-3.pem").write_text(pair.certificate)
    (tmp_path / "line-3.key").write_text(pair.key)
    return Watching(tmp_path, authority, broker)


def test_a_board_looks_by_itself_and_tells_what_changed(
    watching: Watching, broker: Broker, start: Callable[..., RunningAgent], tmp_path: Path
) -> None:
    truth = digit_labels()
    one = truth.index(1)
    other = next(place for place, label in enumerate(truth) if label != 1)
    another_one = truth.index(1, one + 1)
    watching.stream(on_change=True)
    agent = start(watching.board).ready()
    client = Client(Line(watching.board, agent, broker, tmp_path), "line-3", mqtt.MQTTv5)
    try:
        watching.put("first", one)
        heard = client.hears()
        document = json.loads(heard.payload)
        assert (heard.topic, heard.retain) == (RESULTS, False)
        assert (document["source"], document["answers"][0]["label"]) == ("first.npy", "one")
        assert abs(document["at"] - time.time()) < 60

        watching.put("second", another_one)
        (watching.photos / "broken.npy").write_bytes(b"\x93NUMPY")
        time.sleep(0.5)
        watching.put("third", other)
        document = json.loads(client.hears().payload)
        assert (document["source"], document["answers"][0]["label"]) == ("third.npy", LABELS[truth[other]])
        assert sorted(each.name for each in watching.photos.iterdir()) == [
            "broken.npy",
            "first.npy",
            "second.npy",
            "third.npy",
        ]

        agent.stop()
        remembered = watching.state()
        assert (remembered.last, remembered.published) == ("third.npy", 2)
        watching.stream(on_change=True, rate=0.001)
        agent = start(watching.board).ready()
        until(lambda: (agent.get("/edge/v1/status")[1]["telemetry"] or {}).get("connected"))
        (watching.board.root / "link" / "stream.json").unlink()
        until(lambda: not watching.state().seen)
        assert (watching.state().asked, watching.state().published) == (remembered.asked, 2)
        with pytest.raises(queue.Empty):
            client.answers.get_nowait()
    finally:
        client.close()


def test_an_agent_without_a_stream_imports_nothing_of_it() -> None:
    loaded = "import sys, agent.app; print([name for name in sys.modules if name.startswith('agent.stream')])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
