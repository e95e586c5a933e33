"""The proof run: an artifact in the board's exact engine version, in a process of its own."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import InferenceFailed
from agent.contract.runtime import RuntimeManifest
from agent.transforms.golden import pack, unpack
from edge.conversion.request import Measure, MeasureResult
from edge.last_words import last_words

TIMEOUT_S = 1800.0
TIMED_RUNS = 200
CHUNK_BYTES = 256 * 1024 * 1024
"""Inputs that are handed over at once."""

Array = NDArray[Any]


class Environment(Protocol):
    """What is needed of `edge.runtimes.ProofEnvironment`."""

    @property
    def runtime(self) -> RuntimeManifest:
        """What it is."""

    def run(self, args: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command of the agent in it."""


def proof_measure(environment: Environment) -> Measure:
    """A measure function that runs the agent's `measure` in a proof environment."""

    def measure(bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
        done = environment.run(
            [
                "measure", "--bundle", str(bundle), "--inputs", str(inputs), "--outputs", str(outputs),
                "--repeat", str(repeat),
            ],
            TIMEOUT_S,
        )  # fmt: skip
        if done.returncode != 0:
            raise InferenceFailed(model=bundle.name, reason=_why(done))
        try:
            said = json.loads(done.stdout)
            return MeasureResult(
                engine=said["engine"],
                engine_version=said["version"],
                platform=str(environment.runtime.platform),
                p50_ms=said["p50_ms"],
                p95_ms=said["p95_ms"],
                memory_mb=said["memory_mb"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InferenceFailed(
                model=bundle.name, reason=f"its measurement can't be read: {error}"
            ) from error

    return measure


def _why(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"{signal.Signals(-done.returncode).name} ended it"
    return last_words(done.stderr, done.returncode)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a proof run answered to the run set.

    Attributes:
        outputs: one array `[N, ...]` an output tensor, engine dtype.
        result: engine, platform, times and memory.
    """

    outputs: tuple[Array, ...]
    result: MeasureResult

    @property
    def title(self) -> str:
        """Engine, version and platform, as the manifest and the report say it."""
        return f"{self.result.engine} {self.result.engine_version}, {self.result.platform}"


def prove(measure: Measure, bundle: Path, inputs: Sequence[Array], *, outputs: int) -> Proof:
    """Run a bundle's artifact on arrays, in parts that fit in memory; the first part is timed.

    Args:
        measure: of the proof environment.
        bundle: folder of a bundle that holds the artifact.
        inputs: one array `[N, ...]` an input tensor, engine dtype.
        outputs: how many output tensors there are.

    Raises:
        EdgeError: it does not run there.
    """
    count = len(inputs[0])
    sample_bytes = sum(array.nbytes for array in inputs) // count
    step = max(1, min(count, CHUNK_BYTES // max(sample_bytes, 1)))
    results: list[MeasureResult] = []
    parts: list[dict[str, Array]] = []
    with tempfile.TemporaryDirectory(prefix="edge-proof-") as folder:
        given, answered = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        for begin in range(0, count, step):
            given.write_bytes(
                pack({f"input_{k}": array[begin : begin + step] for k, array in enumerate(inputs)})
            )
            repeat = math.ceil(TIMED_RUNS / min(step, count)) if begin == 0 else 1
            results.append(measure(bundle, given, answered, repeat))
            parts.append(unpack(answered))
    joined = tuple(np.concatenate([part[f"output_{k}"] for part in parts]) for k in range(outputs))
    if any(len(array) != count for array in joined):
        raise InferenceFailed(model=bundle.name, reason=f"it answered to {len(joined[0])} of {count} samples")
    return Proof(outputs=joined, result=results[0])
