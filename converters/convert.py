"""Run a conversion job in child processes, and make typed results of whatever happens to them.

The rule: one start of TensorFlow for all targets of a job. A child that crashes, is killed or takes too long costs
the target that it was at; the others go on in another child. Nothing is left running or lying about.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.contract import codec
from agent.contract.errors import (
    ConversionCrashed,
    DocumentInvalid,
    EdgeError,
    ModelUnreadable,
    error_from_plain,
)
from converters.extras import Interpreter, interpreters, program, programs
from converters.job import ConversionJob, Converted, Failure, Line, Original, Stage

TIMEOUT_S = 1800.0
LOG_TAIL_LINES = 3
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONWARNINGS": "ignore",
    "ORT_LOGGING_LEVEL": "3",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""Quiet, on the CPU, the same numbers each time, and nothing of it told to anybody."""

PACKAGES = (Path(__file__).parent, Path(codec.__file__).parents[1])
"""`converters` and `agent`, which a child needs."""


@dataclass(kw_only=True)
class Conversion:
    """What came of a job.

    Attributes:
        original: the model that was given; None when it could not be read.
        converted: artifacts by target key.
        errors: why a target came to nothing, by its key.
        stages: of all children, in order.
    """

    original: Original | None = None
    converted: dict[str, Converted] = field(default_factory=dict)
    errors: dict[str, EdgeError] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)


def convert(
    job: ConversionJob,
    *,
    log: Path,
    on_stage: Callable[[Stage], None] = lambda _: None,
    timeout_s: float = TIMEOUT_S,
    environments: Path | None = None,
) -> Conversion:
    """Run a job.

    Args:
        job: what to make; its folder exists.
        log: gets the children's whole output.
        on_stage: told of every stage that is done.
        timeout_s: for one child.
        environments: folder of the frameworks' environments; None where there are none.

    Returns:
        Each target stands in `converted` or in `errors`.

    Raises:
        ExtraMissing: a package is not installed, or the environment of a framework is not made.
        ModelUnreadable, ModelHoldsCode, ModelUnsupported: the model can't be read.
        DataUnreadable, DataMismatch: the data can't be used for it.
        ConversionCrashed: the child died before it came to any target.
    """
    result = Conversion()
    for interpreter, left in interpreters(job, environments).items():
        steps = {name: str(program(name, environments)) for name in programs(job.source_format, left)}
        while left:
            child = _Child(replace(job, targets=left, programs=steps), interpreter, log)
            child.run(result, on_stage=on_stage, timeout_s=timeout_s)
            if not child.died:
                break
            left = tuple(target for target in left if target.key not in {**result.converted, **result.errors})
    return result


class _Child:
    """One start of `python -m converters.worker`."""

    def __init__(self, job: ConversionJob, interpreter: Interpreter, log: Path) -> None:
        self.job, self.interpreter, self.log = job, interpreter, log
        self.died = False
        self._begun = Stage(name="start")
        self._done = False
        self._timed_out = False

    def run(self, result: Conversion, *, on_stage: Callable[[Stage], None], timeout_s: float) -> None:
        """Run it to its end and enter what it says in `result`."""
        job_file = Path(self.job.folder) / "job.json"
        job_file.write_bytes(codec.encode(self.job))
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(self.interpreter.python), "-P", "-m", "converters.worker", str(job_file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **ENVIRONMENT, **self._path(), **self._temporary()},
                start_new_session=True,
            )
        timer = threading.Timer(timeout_s, self._time_out, [process])
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            for text in process.stdout:
                self._hear(text, result, on_stage)
            process.wait()
        finally:
            timer.cancel()
            _kill(process)
        if not self._done:
            self._account_for_death(process.returncode, result)

    def _path(self) -> dict[str, str]:
        """Where an interpreter that is not ours finds our packages: alone, without what else lies beside them here."""
        if self.interpreter.own:
            return {}
        folder = Path(self.job.folder) / "packages"
        folder.mkdir(exist_ok=True)
        for package in PACKAGES:
            if not (folder / package.name).exists():
                (folder / package.name).symlink_to(package, target_is_directory=True)
        return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def _temporary(self) -> dict[str, str]:
        """Where libraries leave what they would clear away at their end: a child that is killed has none."""
        folder = Path(self.job.folder) / "temporary"
        folder.mkdir(exist_ok=True)
        return {"TMPDIR": str(folder)}

    def _time_out(self, process: subprocess.Popen[bytes]) -> None:
        self._timed_out = True
        _signal(process)

    def _hear(self, text: bytes, result: Conversion, on_stage: Callable[[Stage], None]) -> None:
        try:
            line = codec.decode(Line, text)
        except DocumentInvalid:
            with self.log.open("ab") as log:
                log.write(text)
            return
        if line.begun:
            self._begun = line.begun
        elif line.stage:
            result.stages.append(line.stage)
            on_stage(line.stage)
        elif line.original:
            result.original = line.original
        elif line.converted:
            result.converted[line.converted.key] = line.converted
        elif line.failure:
            error = self._error(line.failure)
            if line.failure.target is None:
                self._done = True
                raise error
            result.errors[line.failure.target] = error
        self._done = self._done or line.done

    def _error(self, failure: Failure) -> EdgeError:
        if failure.code == ConversionCrashed.code:
            return self._crash(failure.target, failure.reason)
        told = error_from_plain({"code": failure.code, "facts": failure.facts})
        return told or self._crash(failure.target, f"`{failure.code}`, which this version does not know")

    def _account_for_death(self, status: int, result: Conversion) -> None:
        """Enter why the child died, for the target that it was at."""
        self.died = True
        reason = self._reason(status)
        if self._begun.target is not None:
            result.errors[self._begun.target] = self._crash(self._begun.target, reason)
        elif self._begun.name.startswith("load"):
            raise ModelUnreadable(
                path=self.job.source,
                format=self.job.source_format.label,
                reason=f"its loader crashed: {reason}",
            )
        else:
            raise self._crash(None, reason)

    def _reason(self, status: int) -> str:
        if self._timed_out:
            return f"`{self._begun.name}` took longer than it may"
        if status == -signal.SIGKILL:
            return f"it was killed in `{self._begun.name}`, perhaps for want of memory"
        if status < 0:
            return f"{signal.Signals(-status).name} in `{self._begun.name}`"
        return f"exit code {status} in `{self._begun.name}`"

    def _crash(self, target: str | None, reason: str) -> ConversionCrashed:
        formats = {item.key: item.title for item in self.job.targets}
        what = formats[target] if target else " and ".join(dict.fromkeys(formats.values()))
        tail = self.log.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:]
        said = f" (its last words: {' | '.join(line.strip()[:200] for line in tail)})" if tail else ""
        return ConversionCrashed(path=self.job.source, target=what, reason=f"{reason}{said}", log=self.log)


def _signal(process: subprocess.Popen[Any]) -> None:
    """Kill the child and whatever it started, unless it ended already."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _kill(process: subprocess.Popen[Any]) -> None:
    """End the child and reap it."""
    _signal(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
