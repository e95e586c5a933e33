"""The child process of a conversion: `python -m converters.worker JOB.json`.

The rule: it says each thing in one line as soon as it is true (`converters.job.Line`), so that its death loses
nothing that was finished. Standard output belongs to these lines alone; what libraries print goes to standard
error, which is the log. It dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from agent.contract import codec
from agent.contract.errors import ConversionCrashed, EdgeError, ModelUnsupported
from agent.transforms.golden import write_arrays
from converters.calibration.data import CALIBRATION, EVALUATION, Data
from converters.calibration.read import read
from converters.calibration.source import DataSource
from converters.job import ConversionJob, Converted, DataFacts, Failure, Line, Original, Stage, Target
from converters.models import Artifact, Model
from converters.pixels import derive
from converters.reader import open_model
from converters.repair.keep import Keeper
from converters.run_set import RunSet, choose

PR_SET_PDEATHSIG = 1


class Talk:
    """Says lines to the parent and measures stages."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def say(self, line: Line) -> None:
        """One line, at once."""
        self._out.write(codec.encode(line).decode() + "\n")
        self._out.flush()

    @contextlib.contextmanager
    def stage(self, name: str, target: str | None = None) -> Iterator[None]:
        """Announce a stage, and say what it took when it is done."""
        self.say(Line(begun=Stage(name=name, target=target)))
        _forget_peak()
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.say(Line(stage=Stage(name, target, round(seconds, 3), round(_peak_bytes() / 1e6, 1))))


def main(job_file: Path) -> None:
    """Do one job."""
    talk = Talk(_own_standard_output())
    _die_with_parent()
    job = codec.decode(ConversionJob, job_file.read_bytes())
    try:
        model, run_set, calibration, keeper = _prepare(job, talk)
    except EdgeError as error:
        talk.say(Line(failure=Failure(code=error.code, facts=error.to_plain()["facts"])))
        return
    except Exception as error:  # a library's own, told as a crash with its last words
        traceback.print_exc()
        talk.say(Line(failure=Failure(code=ConversionCrashed.code, reason=_last_words(error))))
        return
    for target in job.targets:
        talk.say(_attempt(job, target, model, run_set, calibration, keeper, talk))
    talk.say(Line(done=True))


def _prepare(job: ConversionJob, talk: Talk) -> tuple[Model, RunSet, Data | None, Keeper | None]:
    """Read model and data, and let the original answer the run set."""
    here = any(target.answer_here for target in job.targets)
    model = open_model(job, talk.stage, interpreter=here)
    calibration = evaluation = None
    if job.calibration or job.evaluation:
        with talk.stage("read data"):
            calibration = _data(job.calibration, CALIBRATION, model)
            evaluation = _data(job.evaluation, EVALUATION, model)
    run_set = choose(model, calibration, evaluation)
    answers = None
    if model.can_answer:
        with talk.stage("answers of the original"):
            answers = model.answer(run_set.inputs)
        _refuse_broken_answers(job, answers)
    stored = {f"input_{k}": array for k, array in enumerate(run_set.inputs)}
    stored |= {f"float_{k}": array.astype(np.float32) for k, array in enumerate(answers or ())}
    stored |= {} if run_set.y is None else {"y": run_set.y}
    write_arrays(Path(job.folder) / "run.npz", stored)
    talk.say(Line(original=Original(
        inputs=model.inputs,
        outputs=model.outputs,
        probabilities=model.probabilities,
        samples=run_set.samples,
        origin=run_set.origin,
        answered_by=model.answered_by if answers is not None else None,
        calibration=_facts(job.calibration, calibration),
        evaluation=_facts(job.evaluation, evaluation),
        versions=model.versions,
    )))  # fmt: skip
    keeper = None
    if job.contract is not None and calibration is not None and answers is not None:
        keeper = Keeper(
            contract=job.contract,
            model=model,
            run_set=run_set,
            floats=answers,
            calibration=calibration,
            trainable=job.source_format.is_keras,
        )
    return model, run_set, calibration, keeper


def _data(source: DataSource | None, purpose: str, model: Model) -> Data | None:
    if source is None:
        return None
    steps = source.steps
    if steps is None:
        steps = derive(model.inputs, (), source.scale).steps
    return read(source, model.inputs, steps=steps, purpose=purpose, classes=model.classes)


def _facts(source: DataSource | None, data: Data | None) -> DataFacts | None:
    if source is None or data is None:
        return None
    low, high = data.span
    return DataFacts(
        sha256=data.sha256,
        samples=data.samples,
        low=low,
        high=high,
        dtype=str(data.x.dtype),
        labelled=data.y is not None,
        kind=source.kind,
        classes=data.classes,
    )


def _attempt(
    job: ConversionJob,
    target: Target,
    model: Model,
    run_set: RunSet,
    calibration: Data | None,
    keeper: Keeper | None,
    talk: Talk,
) -> Line:
    """Make one artifact, repaired where it misses its budget, or say why not."""

    def make(rung: Target) -> Artifact:
        # The stages of all rungs are those of the target that the parent knows.
        return model.convert(
            rung, calibration, Path(job.folder), lambda name, _=None: talk.stage(name, target.key)
        )

    try:
        climbed = keeper.keep(target, make) if keeper is not None else None
        artifact = climbed.artifact if climbed is not None else make(target)
        answered_by = _answer(job, target, artifact, run_set, talk)
    except EdgeError as error:
        return Line(failure=Failure(code=error.code, facts=error.to_plain()["facts"], target=target.key))
    except Exception as error:  # a library's own, told as a crash with its last words
        traceback.print_exc()
        return Line(
            failure=Failure(code=ConversionCrashed.code, reason=_last_words(error), target=target.key)
        )
    return Line(converted=Converted(
        key=target.key,
        file=artifact.path.name,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        engines=artifact.engines,
        uses=artifact.uses,
        settings={**artifact.settings, **(climbed.repairs if climbed is not None else {})},
        notes=artifact.notes,
        answered_by=answered_by,
        rungs=climbed.rungs if climbed is not None else (),
        layers=climbed.layers if climbed is not None else (),
    ))  # fmt: skip


def _answer(
    job: ConversionJob, target: Target, artifact: Artifact, run_set: RunSet, talk: Talk
) -> str | None:
    """Load the artifact and let it answer: one sample to show that it runs, all where nobody else will."""
    from converters.engines import Engine

    with talk.stage("load the artifact", target.key):
        engine = Engine.for_file(artifact.path, target.format)
        if engine is None:
            return None
        inputs = run_set.stored(artifact.inputs)
        outputs = engine.answer([array if target.answer_here else array[:1] for array in inputs])
    if any(not np.isfinite(array).all() for array in outputs if array.dtype.kind == "f"):
        raise ModelUnsupported(
            path=job.source,
            target=target.title,
            reason="the artifact answers with NaN or infinity",
            way_out="try another recipe",
        )
    if not target.answer_here:
        return None
    stored = {f"output_{k}": array for k, array in enumerate(outputs)}
    write_arrays(Path(job.folder) / f"{target.key}.npz", stored)
    return engine.title


def _refuse_broken_answers(job: ConversionJob, answers: Sequence[NDArray[Any]]) -> None:
    """Raise ModelUnsupported where the original itself answers with what is no number."""
    for array in answers:
        whole = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if array.dtype.kind == "f" and not whole.all():
            raise ModelUnsupported(
                path=job.source,
                target="an artifact",
                reason=f"the model itself answers with NaN or infinity, first to sample {int(np.argmin(whole))}",
                way_out="check its weights, and that the data are scaled as in its training",
            )


def _last_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def _own_standard_output() -> TextIO:
    """Keep standard output for lines; whoever prints writes to standard error from here on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _die_with_parent() -> None:
    """On Linux: be killed when the parent is gone, so that no conversion runs for nobody."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _forget_peak() -> None:
    """Let the kernel count the peak of resident memory anew, where it can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    """Peak of resident memory since `_forget_peak`; since the start where the kernel can't count anew."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
