"""Proof environments: the agent's `place` and `launch.py`, and real models in real engines, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agent.contract.manifest import EngineName
from agent.transforms.golden import GoldenSet
from edge.runtimes import ProofEnvironment, RuntimeRequest, proof_environment
from tests.agent.boards import DIGITS, MODELS, PROBABILITIES, digits, tflite_specs, write_bundle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="proof environments are Linux's")

MODEL_OF = {EngineName.LITERT: "digits.tflite", EngineName.ONNXRUNTIME: "digits.onnx"}


@pytest.fixture(scope="session", params=MODEL_OF)
def environment(request: pytest.FixtureRequest) -> ProofEnvironment:
    return proof_environment(request.param)


def test_a_model_is_measured_in_it(environment: ProofEnvironment, tmp_path: Path) -> None:
    engine = environment.runtime.engine
    samples = digits(20)
    bundle = tmp_path / "bundles"
    model = MODELS / MODEL_OF[engine]
    inputs, outputs = tflite_specs(model) if model.suffix == ".tflite" else ([DIGITS], [PROBABILITIES])
    name = write_bundle(
        bundle,
        model_file=model,
        golden=GoldenSet(inputs=(samples,), proof=(), float_outputs=()),
        inputs=inputs,
        outputs=outputs,
    )
    np.savez(tmp_path / "inputs.npz", input_0=samples)
    done = environment.run(
        [
            "measure", "--bundle", str(bundle / name), "--inputs", str(tmp_path / "inputs.npz"),
            "--outputs", str(tmp_path / "outputs.npz"),
        ],
        60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["engine"], said["version"]) == (engine.value, environment.runtime.engine_version)
    with np.load(tmp_path / "outputs.npz") as answers:
        assert answers["output_0"].shape == (20, 10)


def test_it_is_made_once(environment: ProofEnvironment) -> None:
    began = time.monotonic()
    again = proof_environment(environment.runtime.engine)
    assert again.runtime.layers[1:] == environment.runtime.layers[1:]
    assert again.root == environment.root
    assert time.monotonic() - began < 10


def test_nothing_of_this_environment_is_seen_in_it(environment: ProofEnvironment) -> None:
    """pytest is installed here, and no board has it."""
    program = (
        "import runpy, sys; sys.argv = ['launch.py', '--root', sys.argv[1], '--runtime', sys.argv[2], 'status'];"
        "\ntry: runpy.run_path(sys.argv[2] + '/bin/launch.py', run_name='__main__')"
        "\nexcept SystemExit: pass"
        "\nimport importlib.util; print(importlib.util.find_spec('pytest'), importlib.util.find_spec('numpy').origin)"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-c", program, str(environment.root), environment.digest],
        capture_output=True,
        text=True,
        check=True,
    )
    spec, numpy = said.stdout.split()
    assert spec == "None"
    assert Path(numpy).is_relative_to(environment.root / "objects")


def test_what_takes_too_long_is_ended_with_its_children(environment: ProofEnvironment) -> None:
    began = time.monotonic()
    done = environment.run(["measure", "--bundle", "/dev/null", "--inputs", "/dev/null"], 0.001)
    assert done.returncode == -9
    assert "did not finish within 0.001 s" in done.stderr
    assert time.monotonic() - began < 10


def test_two_processes_make_it_at_the_same_time(tmp_path: Path) -> None:
    """In an empty cache that only knows the wheels and layers: unpacking is what they race for."""
    shared = proof_environment(EngineName.LITERT).root.parent
    cache = tmp_path / "cache"
    cache.mkdir()
    for part in ("wheels", "layers", "blobs"):
        (cache / part).symlink_to(shared / part)
    program = (
        "from edge.runtimes import proof_environment; from agent.contract.manifest import EngineName;"
        "print(proof_environment(EngineName.LITERT).run(['--help'], 60).returncode)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "EDGE_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=100)[0].strip() for process in processes] == ["0", "0"]
    assert list((cache / "proof").glob(".part-*")) == []


def test_a_request_for_this_machine_is_its_own_platform() -> None:
    request = RuntimeRequest.for_this_machine(EngineName.LITERT)
    assert request.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert request.architecture == os.uname().machine
    assert request.page_size_bytes == os.sysconf("SC_PAGE_SIZE")
