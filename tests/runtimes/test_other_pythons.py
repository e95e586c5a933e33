"""Every runtime for this processor under the Python that it is for, and arm64 ones under emulation.

What is composed is unpacked and used by a real interpreter of that version: nothing that was trimmed is missed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.contract.manifest import EngineName
from edge.runtimes import Composed, RuntimeRequest, compose
from edge.runtimes.lock import ENGINE_PYTHONS
from tests.beds.arm64_chroot import run_arm64
from tests.runtimes.pythons import MODELS, PROBE, interpreter, probe_arguments, unpack

pytestmark = [pytest.mark.bed, pytest.mark.timeout(900)]

MODEL_OF = {
    EngineName.LITERT: ("digits.tflite", "digits_int8.tflite"),
    EngineName.TFLITE_RUNTIME: ("digits.tflite", "digits_int8.tflite"),
    EngineName.ONNXRUNTIME: ("digits.onnx",),
}
BOARDS = [("3.10", "2.35"), ("3.11", "2.36"), ("3.12", "2.39"), ("3.13", "2.41")]
"""Pythons with the C library of the system that carries them: JetPack 6, bookworm, Ubuntu 24.04, trixie."""
RUNTIMES = [
    (python, glibc, engine)
    for python, glibc in BOARDS
    for engine in MODEL_OF
    if python in ENGINE_PYTHONS.get((engine, ""), (python,))
]


def composed(architecture: str, python: str, glibc: str, engine: EngineName) -> Composed:
    page = 16384 if architecture == "aarch64" else 4096
    return compose(
        RuntimeRequest(
            architecture=architecture, python=python, glibc=glibc, page_size_bytes=page, engine=engine
        )
    )


def answers(said: Sequence[subprocess.CompletedProcess[str]]) -> list[dict[str, Any]]:
    assert [run.returncode for run in said] == [0] * len(said), said[0].stderr[-2000:]
    return [json.loads(run.stdout.splitlines()[-1]) for run in said]


@pytest.mark.parametrize(("python", "glibc", "engine"), RUNTIMES)
def test_a_runtime_for_this_processor_runs_under_its_python(
    python: str, glibc: str, engine: EngineName, tmp_path: Path
) -> None:
    program = interpreter(python)
    runtime = composed("x86_64", python, glibc, engine)
    layers = unpack(runtime, tmp_path)
    said = answers(
        [
            subprocess.run(
                [program, *probe_arguments(layers, PROBE, MODELS / model)],
                capture_output=True,
                text=True,
                timeout=120,
            )
            for model in MODEL_OF[engine]
        ]
    )
    numpy = next(layer.version for layer in runtime.manifest.layers if layer.name == "numpy")
    assert {answer["numpy"] for answer in said} == {numpy}
    assert all(answer["shape"] == [1, 10] for answer in said)
    assert all(runtime.manifest.engine_version in answer["engine"] for answer in said)


@pytest.mark.parametrize(("python", "glibc", "engine"), RUNTIMES)
def test_a_runtime_for_arm64_fits_a_raspberry_pi_5(python: str, glibc: str, engine: EngineName) -> None:
    runtime = composed("aarch64", python, glibc, engine)
    assert all(layer.page_size_bytes in (0, 65536) for layer in runtime.manifest.layers)


@pytest.mark.parametrize("engine", MODEL_OF)
def test_a_runtime_for_arm64_runs_under_emulation(
    engine: EngineName, arm64_root: Path, tmp_path: Path
) -> None:
    runtime = composed("aarch64", "3.11", "2.36", engine)
    layers = unpack(runtime, tmp_path / "layers")
    (tmp_path / "layers").chmod(0o755)
    binds = {tmp_path / "layers": "/mnt/layers", MODELS: "/mnt/models", PROBE.parent: "/mnt/program"}
    said = answers(
        [
            run_arm64(
                arm64_root,
                [
                    "python3",
                    *probe_arguments(
                        [f"/mnt/layers/{layer.name}" for layer in layers],
                        "/mnt/program/probe.py",
                        f"/mnt/models/{model}",
                    ),
                ],
                binds,
            )
            for model in MODEL_OF[engine]
        ]
    )
    assert all(answer["shape"] == [1, 10] for answer in said)
