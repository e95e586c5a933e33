"""A proof environment for tests: the agent's own `measure`, as a process, with the engines of this environment.

`edge.runtimes` makes the real ones, with the boards' exact versions; this one differs in nothing that conversion
sees, and needs no network.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence

from agent.contract.manifest import EngineName
from agent.contract.profile import DeviceProfile
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from edge.conversion import Measure, proof_measure
from edge.profiles import load_profiles

PACKAGES = {EngineName.LITERT: "ai-edge-litert", EngineName.ONNXRUNTIME: "onnxruntime"}


class Told:
    """Progress, remembered."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def transfer(self, what: str, done_bytes: int, total_bytes: int) -> None:
        raise AssertionError("nothing is transferred")


class ThisEnvironment:
    """The engines that are installed here."""

    def __init__(self, engine: EngineName) -> None:
        python = ".".join(platform.python_version_tuple()[:2])
        self.runtime = RuntimeManifest(
            platform=Platform(architecture=platform.machine(), python=python, glibc=platform.libc_ver()[1]),
            engine=engine,
            engine_version=importlib.metadata.version(PACKAGES[engine]),
            agent_version="0",
            contracts=(1,),
            layers=(Layer(name="edge-agent", version="0", sha256="0" * 64, size_bytes=0, unpacked_bytes=0),),
        )

    def run(self, args: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agent", *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )


def measure_here(profile: DeviceProfile) -> Measure | None:
    """The measure function of the profile's engine where that is installed here; None for another."""
    return proof_measure(ThisEnvironment(profile.engine)) if profile.engine in PACKAGES else None


def nowhere(profile: DeviceProfile) -> Measure | None:
    """No proof environment for anything."""
    return None


PROFILES = load_profiles(None)
