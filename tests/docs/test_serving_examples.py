"""The examples of `docs/serving.md` are run, in their order, against a real agent, a real broker and an open door.

A block ```console holds commands after `$ `, and below each what it says; a block ```python is followed by a block
```text with what it prints. Where the page has `…`, anything may stand.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agent.contract.codec import encode
from agent.contract.door import DoorConfig, Scope, Token
from agent.contract.manifest import Step, Task
from agent.contract.release import Generation, GenerationModel, ModelRole
from agent.contract.topics import TopicKind, beginning
from agent.transforms.golden import GoldenSet
from edge.certificates import CertificateAuthority
from edge.collector.access import AccessList
from tests.agent.boards import DIGITS, MODELS, PROBABILITIES, ROOT, digits
from tests.agent.conftest import RunningAgent
from tests.agent.pictures import PIXELS, SQUEEZED, _model
from tests.link.boards import DEVICE, LinkedBoard
from tests.link.broker import Broker, free_port
from tests.link.collector import FLEET, NAME

PAGE = ROOT / "docs" / "serving.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
CLIENTS = {"BROKER": "line-3", "SCREEN": "screen"}
"""Names of clients, by what the page calls the options with which they come to the broker."""
TOKEN = "a" * 43
RUN_S = 120


@dataclass(frozen=True)
class Example:
    """One block of the page. shown: what comes of it, `…` for anything."""

    language: str
    code: str
    shown: str

    @property
    def name(self) -> str:
        return f"{self.language}-{hashlib.sha256(self.code.encode()).hexdigest()[:6]}"


def examples() -> list[Example]:
    found = []
    for language, body, printed in BLOCK.findall(PAGE.read_text()):
        if language == "python":
            found.append(Example(language, body, printed))
            continue
        commands, shown = [], []
        following = False
        for line in body.splitlines():
            if following or line.startswith("$ "):
                commands.append(line.removeprefix("$ "))
                following = line.endswith("\\")
            else:
                shown.append(line)
        found.append(Example(language, "\n".join(commands), "\n".join(shown)))
    return found


@dataclass(frozen=True)
class Reader:
    """Somebody who has the page before them, and the files that it names."""

    folder: Path
    ports: dict[str, int]

    def run(self, example: Example) -> str:
        """What comes of it, in the page's own words."""
        code = example.code
        for shown, port in self.ports.items():
            code = code.replace(shown, f"{shown.partition(':')[0]}:{port}" if ":" in shown else str(port))
        code = code.replace("pi-7.local", "127.0.0.1")
        command = ["bash", "-c", code] if example.language == "console" else [sys.executable, "-c", code]
        broker = f"-h localhost -p {self.ports['8883']} --cafile mqtt-ca.pem"
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={
                **os.environ,
                **{
                    variable: f"{broker} --cert {name}.pem --key {name}.key"
                    for variable, name in CLIENTS.items()
                },
                "BOARD": beginning(FLEET, DEVICE, TopicKind.INFER).removesuffix("/infer/"),
                "TOKEN": TOKEN,
            },
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def says(found: str, shown: str) -> bool:
    """Whether a text is what the page shows, but for space: answers of `curl` do not end their line."""
    pattern = ".*".join(re.escape("".join(part.split())) for part in shown.split("…"))
    return re.fullmatch(pattern, "".join(found.split())) is not None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("serving")
    authority = CertificateAuthority(folder / "keys")
    broker = Broker(folder / "broker", authority, more="use_username_as_clientid true")
    (broker.folder / "acl").write_text(AccessList(FLEET, NAME, tuple(CLIENTS.values())).render())
    board = LinkedBoard(folder / "board", authority)
    _models(board, folder)
    ports = {"127.0.0.1:8470": 0, "pi-7.local:8471": free_port(), "8883": broker.port}
    _open(board, authority, ports["pi-7.local:8471"])
    broker.start()
    board.report_to(broker.port)
    agent = RunningAgent(board, folder / "agent.log")
    try:
        agent.ready()
        _wait_for_link(agent)
        ports["127.0.0.1:8470"] = agent.port
        yield Reader(_files(folder / "laptop", authority), ports)
    finally:
        agent.stop()
        broker.kill()


def _models(board: LinkedBoard, folder: Path) -> None:
    """`digits` 1 and its challenger 2, and `colours`."""
    bundle = board.bundle(
        model_file=MODELS / "digits.onnx",
        golden=GoldenSet(inputs=(digits(),)),
        inputs=[DIGITS],
        outputs=[PROBABILITIES],
        postprocessing=[Step("top-k", {"k": 3})],
        labels=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    )
    file, outputs = _model(folder, Task.CLASSIFICATION)
    colours = board.bundle(
        name="colours",
        model_file=file,
        golden=GoldenSet(inputs=(np.zeros((2, *PIXELS.shape[1:]), np.float32),)),
        inputs=[PIXELS],
        outputs=outputs,
        preprocessing=SQUEEZED,
        postprocessing=[Step("softmax"), Step("top-k", {"k": 2})],
        labels=("red", "green", "blue"),
    )
    generation = Generation(
        number=1,
        runtime=board.runtime,
        models=(
            GenerationModel("digits", "digits@1", bundle),
            GenerationModel("digits", "digits@2", bundle, role=ModelRole.CHALLENGER, share=0),
            GenerationModel("colours", "colours@1", colours),
        ),
    )
    (board.root / "generations" / "1").mkdir()
    (board.root / "generations" / "1" / "generation.json").write_bytes(encode(generation))
    board.link("current", 1)


def _open(board: LinkedBoard, authority: CertificateAuthority, port: int) -> None:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key((board.root / "mqtt.key").read_bytes(), None)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    door = DoorConfig(
        address="127.0.0.1",
        port=port,
        certificate=authority.certify_server(DEVICE, public.decode(), ("127.0.0.1",)),
        tokens=(Token("laptop", hashlib.sha256(TOKEN.encode()).hexdigest(), Scope.INFER),),
    )
    (board.root / "link" / "door.json").write_bytes(encode(door))


def _files(folder: Path, authority: CertificateAuthority) -> Path:
    """What the page's reader has in the folder."""
    folder.mkdir()
    rows = digits(1)
    documents = {
        "rows": {"instances": rows.tolist()},
        "columns": {"signature_name": "serving_default", "inputs": {"x": rows.tolist()}},
        "examples": {"examples": [{"x": rows[0].tolist()}]},
        "request": {
            "id": "7",
            "inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": rows[0].tolist()}],
        },
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    np.save(folder / "rows.npy", rows)
    (folder / "row.bin").write_bytes(rows.tobytes())
    Image.new("RGB", (32, 24), (30, 160, 60)).save(folder / "leaf.png")
    for file in ("ca.pem", "mqtt-ca.pem"):
        (folder / file).write_text(authority.certificate)
    for name in CLIENTS.values():
        pair = authority.client(name)
        (folder / f"{name}.pem").write_text(pair.certificate)
        (folder / f"{name}.key").write_text(pair.key)
    return folder


def _wait_for_link(agent: RunningAgent) -> None:
    end = time.monotonic() + RUN_S
    while not (agent.get("/edge/v1/status")[1]["telemetry"] or {}).get("connected"):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_does_what_the_page_shows(reader: Reader, example: Example) -> None:
    found = reader.run(example)
    assert says(found, example.shown), f"{example.code}\nsays\n{found}"


def test_the_page_has_an_example_of_every_way_in() -> None:
    code = "\n".join(example.code for example in examples())
    for word in (
        "curl",
        "mosquitto_pub",
        "mosquitto_rr",
        "tritonclient",
        "urllib",
        "paho",
        "/v1/",
        "/v2/",
        "https:",
    ):
        assert word in code


def test_what_the_page_leaves_out_may_be_anything_and_nothing_else() -> None:
    assert says('{"a":[1,2]}\n', '{"a":[…]}')
    assert not says('{"b":[1,2]}\n', '{"a":[…]}')
    assert not says('{"a":[1,2]} and more\n', '{"a":[1,2]}')
