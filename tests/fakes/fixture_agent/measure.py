"""Measuring, as small as it can be: the model file says what is measured."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from agent.config import BoardFolder, read_generation
from agent.contract.errors import InferenceFailed
from agent.contract.trial import Measurement


def selftest(folder: Path, *, root: Path) -> list[Measurement]:
    measured = []
    for model in read_generation(folder).models:
        behaviour = (BoardFolder(root).object(model.bundle) / "model.tflite").read_text().split()
        if "check-killed" in behaviour:
            os.kill(os.getpid(), signal.SIGKILL)
        if "check-hangs" in behaviour:
            time.sleep(600)
        if "check-waits" in behaviour:
            time.sleep(3)
        if "check-fails" in behaviour:
            raise InferenceFailed(model=model.release, reason="the engine says no")
        measured.append(
            Measurement(
                model=model.name, release=model.release, samples=8,
                proof_within=0.5 if "damaged" in behaviour else 1.0,
                agreement=0.4 if "disagrees" in behaviour else 0.99,
                p50_ms=1.0, p95_ms=90.0 if "slow" in behaviour else 2.0,
                memory_mb=500.0 if "large" in behaviour else 5.0, engine="litert", engine_version="2.3.0",
            )
        )  # fmt: skip
    return [] if "unmeasured" in " ".join(behaviour) else measured
