"""Whether a board answers, and rightly: each release's own numbers, so that no answer passes for another's."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.codec import decode
from agent.contract.manifest import BundleManifest
from agent.transforms.golden import read_golden
from agent.transforms.quantization import dequantize
from tests.journeys.bundles import digits

STEPS, FLOAT_GIVE = 2, 1e-3
"""By how many output steps an integer model may differ on another architecture, and by how much a float model."""
TIMEOUT_S = 20.0
PAUSE_S = 0.5


class WrongAnswer(Exception):
    """An answer that is not its release's."""


@dataclass(frozen=True)
class Question:
    """One input, and what each version of the model answers to it, give or take."""

    body: bytes
    expected: Mapping[str, tuple[np.ndarray, float]]

    @classmethod
    def telling_apart(cls, one: Path, other: Path) -> Question:
        """The handwritten digit on which the models of two bundles, version 1 and version 2, differ most."""
        told = {version: _told(bundle) for version, bundle in (("1", one), ("2", other))}
        apart = np.abs(told["1"][0] - told["2"][0]).max(axis=1)
        row = int(apart.argmax())
        assert apart[row] > told["1"][1] + told["2"][1], "the releases answer alike"
        name = _manifest(one).inputs[0].name
        assert name == _manifest(other).inputs[0].name
        data = digits()[0][row].tolist()
        tensor = {"name": name, "shape": [1, len(data)], "datatype": "FP32", "data": data}
        body = json.dumps({"inputs": [tensor]}).encode()
        return cls(body, {version: (outputs[row], give) for version, (outputs, give) in told.items()})

    def ask(self, port: int) -> str:
        """The version that answers.

        Raises:
            OSError, http.client.HTTPException, ValueError, KeyError: nobody does. WrongAnswer: it answers wrongly.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request(
                "POST", "/v2/models/digits/infer", self.body, {"Content-Type": "application/json"}
            )
            reply = connection.getresponse()
            plain: dict[str, Any] = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status != 200:
            raise OSError(f"answered with {reply.status}: {plain}")
        version, answered = str(plain["model_version"]), np.array(plain["outputs"][0]["data"])
        if version not in self.expected:
            raise WrongAnswer(f"version {version} answers")
        expected, give = self.expected[version]
        if np.abs(answered - expected).max() > give:
            raise WrongAnswer(f"version {version} answers {answered}, it should be {expected}")
        return version


def _manifest(bundle: Path) -> BundleManifest:
    return decode(BundleManifest, (bundle / "manifest.json").read_bytes())


def _told(bundle: Path) -> tuple[np.ndarray, float]:
    """What its model answers to each digit, as proved on the laptop, and by how much a board may differ."""
    spec, proof = _manifest(bundle).outputs[0], read_golden(bundle / "golden.npz").proof[0]
    if spec.scale is None:
        return proof, FLOAT_GIVE
    return dequantize(proof, spec), spec.scale * STEPS


@dataclass
class Load:
    """Requests in a loop, twice a second, in a thread. A context manager.

    Attributes:
        answered: seconds (monotonic) and version of each answer. failed: of each failure, with the reason.
        wrong: answers that were none.
    """

    question: Question
    port: int
    answered: list[tuple[float, str]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                version = self.question.ask(self.port)
                self.answered.append((time.monotonic(), version))
            except WrongAnswer as error:
                self.wrong.append(str(error))
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failed.append((time.monotonic(), repr(error)))
            self._stop.wait(PAUSE_S)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * TIMEOUT_S)
