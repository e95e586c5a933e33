"""`edge --help` answers at once: it loads nothing heavy."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

EDGE = Path(sys.executable).with_name("edge")
HEAVY = {
    "ai_edge_litert", "amqtt", "asyncssh", "cryptography", "fabric", "h5py", "keras", "msgspec", "numpy", "onnx",
    "onnxruntime", "orjson", "paho", "prometheus_client", "pyarrow", "pyrage", "sqlite3", "textual",
    "paramiko", "PIL", "sklearn", "tensorflow", "tf2onnx", "torch", "tuf",
}  # fmt: skip
SECONDS = 0.3
RUNS = 7

pytestmark = pytest.mark.skipif(
    not (ROOT / "edge" / "cli" / "main.py").exists(), reason="there is no command line yet"
)


def test_help_loads_nothing_heavy() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", EDGE, "--help"], check=True, capture_output=True, text=True
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert "edge" in loaded
    assert loaded & HEAVY == set()
    assert "Usage" in ran.stdout


def test_help_answers_at_once() -> None:
    best = min(cpu_seconds_of_help() for _ in range(RUNS))
    assert best < SECONDS


def cpu_seconds_of_help() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([EDGE, "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
