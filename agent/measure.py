"""Measuring models: the trial's self-test, and runs in proof environments.

The rule: a model that was never run here is run in a child process of its own, so that its memory is its own and a
crash of the engine is an answer, not the end. Time is CPU time of batch-1 runs: a busy board is no slow model.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.config import BoardFolder, read_config, read_generation
from agent.contract.codec import from_plain, to_plain
from agent.contract.errors import DataUnreadable, EdgeError, InferenceFailed, RequestInvalid, error_from_plain
from agent.contract.release import GenerationModel
from agent.contract.trial import Measurement
from agent.models import Bundle, Model, open_bundle, ordered
from agent.system import peak_bytes, rss_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

T = TypeVar("T")

RUNS = 200
"""Timed runs of one model, unless `CPU_BUDGET_S` ends them sooner; each golden input is run once at least."""
CPU_BUDGET_S = 5.0
WARM_UP_RUNS = 3


def selftest(folder: Path, *, root: Path) -> list[Measurement]:
    """Measure every model of a generation on its golden set, each in a process of its own, one after the other.

    Args:
        folder: `generations/<n>`.
        root: the board's folder, where the objects lie.

    Raises:
        StateDamaged: the generation can't be read.
        EdgeError: what a model failed with; a crash of the engine is `InferenceFailed`.
    """
    board = BoardFolder(root)
    generation = read_generation(folder)
    threads = read_config(board).threads if board.config.exists() else 1
    measured = []
    for model in generation.models:
        plain = _in_child(lambda model=model: to_plain(measure_model(model, board, threads)), model.release)  # type: ignore[misc]
        measured.append(from_plain(Measurement, plain))
    return measured


def measure_model(model: GenerationModel, board: BoardFolder, threads: int) -> Measurement:
    """Load one model, run its golden set, compare and time it, in this process.

    Raises:
        EdgeError: an artifact that is not what it should be, or an engine that says no.
    """
    from agent.transforms.agreement import agreement, proof_within
    from agent.transforms.golden import read_golden

    bundle = open_bundle(board.object(model.bundle), expected=model.bundle)
    manifest = bundle.manifest
    golden = read_golden(bundle.golden_file)
    loaded, before = _load(bundle, threads)
    samples = _samples(ordered(golden.inputs, manifest.inputs, loaded.inputs), loaded)
    answers, times = _run(loaded, samples)
    memory = rss_bytes() - before
    outputs = ordered(_joined(answers), loaded.outputs, manifest.outputs)
    return Measurement(
        model=model.name,
        release=model.release,
        samples=len(samples),
        proof_within=proof_within(outputs, golden.proof, manifest.outputs) if golden.proof else None,
        agreement=(
            agreement(outputs, golden.float_outputs, manifest.outputs, manifest.task)
            if golden.float_outputs
            else None
        ),
        p50_ms=quantile(times, 0.50),
        p95_ms=quantile(times, 0.95),
        memory_mb=max(memory, 0) / 1e6,
        engine=loaded.engine_name,
        engine_version=loaded.engine_version,
    )


def measure_bundle(
    folder: Path, *, inputs: Path, outputs: Path | None = None, repeat: int = 1
) -> dict[str, Any]:
    """Run a bundle's artifact on given arrays, in this process; no board's folder is needed.

    Args:
        folder: the bundle's.
        inputs: `.npz` with `input_0`, … in the manifest's order, stored dtype, `[N, ...]`.
        outputs: where `output_0`, … go, stored dtype, `[N, ...]`; None writes nothing.
        repeat: passes over the inputs; the times are of all of them.

    Returns:
        `samples`, `runs`, `p50_ms`, `p95_ms` (CPU time of one batch-1 run), `engine`, `version`, `memory_mb` (what
        loading and running added), `peak_memory_mb` (of the whole process).

    Raises:
        EdgeError: an artifact that is not what it should be, inputs that do not fit, or an engine that says no.
    """
    import numpy as np

    bundle = open_bundle(folder)
    arrays = _read_inputs(inputs, len(bundle.manifest.inputs))
    model, before = _load(bundle, 1)
    samples = _samples(ordered(arrays, bundle.manifest.inputs, model.inputs), model)
    answers, times = _run(model, samples, runs=repeat * len(samples), budget_s=None)
    memory = rss_bytes() - before
    if outputs is not None:
        in_order = ordered(_joined(answers), model.outputs, bundle.manifest.outputs)
        try:
            np.savez(outputs, **{f"output_{place}": array for place, array in enumerate(in_order)})
        except OSError as error:
            raise DataUnreadable(path=outputs, reason=error.strerror or str(error)) from error
    return {
        "samples": len(samples),
        "runs": len(times),
        "p50_ms": quantile(times, 0.50),
        "p95_ms": quantile(times, 0.95),
        "engine": model.engine_name,
        "version": model.engine_version,
        "memory_mb": max(memory, 0) / 1e6,
        "peak_memory_mb": peak_bytes() / 1e6,
    }


def quantile(values: Sequence[float], part: float) -> float:
    """The value with at least `part` (0 to 1) of the values at or below it; 0 for none."""
    ranked = sorted(values)
    return ranked[min(int(part * len(ranked)), len(ranked) - 1)] if ranked else 0.0


def _load(bundle: Bundle, threads: int) -> tuple[Model, int]:
    """The model, and the resident memory with the engine's library but without it."""
    from agent import engines

    engines.load_library(engines.choose(bundle.manifest.format, bundle.manifest.requires.engines))
    before = rss_bytes()
    return Model(bundle, threads=threads), before


def _samples(arrays: Sequence[Array], model: Model) -> list[list[Array]]:
    """The inputs of each run: one sample, or as many as the artifact's own batch has.

    Raises:
        RequestInvalid: an array does not fit its tensor.
    """
    import numpy as np

    count = len(arrays[0]) if arrays and arrays[0].ndim else 0
    for array, spec in zip(arrays, model.inputs):  # noqa: B905 - `ordered` made them of one length
        fits = array.ndim == len(spec.shape) and all(
            told in (-1, found)
            for found, told in zip(array.shape[1:], spec.shape[1:])  # noqa: B905 - as above
        )
        if not fits or array.dtype.name != spec.dtype or len(array) != count or not count:
            raise RequestInvalid(
                reason=f"input `{spec.name}` must be {spec.dtype} {['N', *spec.shape[1:]]}, "
                f"found {array.dtype.name} {list(array.shape)}"
            )
    batch = model.fixed_batch or 1
    if count % batch:
        raise RequestInvalid(reason=f"{count} samples can't be run in batches of {batch}")
    whole = [np.ascontiguousarray(array) for array in arrays]
    return [[array[start : start + batch] for array in whole] for start in range(0, count, batch)]


def _run(
    model: Model,
    samples: Sequence[list[Array]],
    *,
    runs: int = RUNS,
    budget_s: float | None = CPU_BUDGET_S,
) -> tuple[list[list[Array]], list[float]]:
    """The answers to the first pass, and the CPU milliseconds of each run.

    Passes go on until `runs` or the budget is spent, the first one is always whole.
    """
    for _ in range(WARM_UP_RUNS):
        model.run(samples[0])
    answers: list[list[Array]] = []
    times: list[float] = []
    end = time.process_time() + budget_s if budget_s is not None else None
    while len(times) < max(runs, len(samples)):
        sample = samples[len(times) % len(samples)]
        began = time.process_time_ns()
        answer = model.run(sample)
        times.append((time.process_time_ns() - began) / 1e6)
        if len(answers) < len(samples):
            answers.append(answer)
        elif end is not None and time.process_time() > end:
            break
    return answers, times


def _joined(answers: Sequence[list[Array]]) -> list[Array]:
    import numpy as np

    return [np.concatenate(parts) for parts in zip(*answers)]  # noqa: B905 - each run has one array per output


def _read_inputs(path: Path, count: int) -> list[Array]:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[f"input_{place}"] for place in range(count)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        raise DataUnreadable(path=path, reason=str(error) or type(error).__name__) from error


# --- a process of its own -------------------------------------------------------------------------------------


def _in_child(work: Callable[[], T], what: str) -> T:
    """What `work` returns (JSON-ready values), done in a forked child.

    Raises:
        EdgeError: the one that it raised.
        InferenceFailed: the child died, which an engine can do on a bad model.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _child(work, sending)
    os.close(sending)
    with os.fdopen(receiving, "rb") as file:
        data = file.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise InferenceFailed(
            model=what, reason=f"the process that ran it died: {signal.Signals(-code).name}"
        )
    if code != 0 or not data:
        raise InferenceFailed(model=what, reason=f"the process that ran it ended with exit code {code}")
    message = json.loads(data)
    if "error" in message:
        told = message["error"]
        raise error_from_plain(told) or InferenceFailed(model=what, reason=told["message"])
    result: T = message["result"]
    return result


def _child(work: Callable[[], T], sending: int) -> None:
    """Do the work, say the result, and end the process, whatever happens."""
    code = 1
    try:
        try:
            message: dict[str, Any] = {"result": work()}
        except EdgeError as error:
            message = {"error": error.to_plain()}
        except MemoryError:
            message = {"error": InferenceFailed(model="the model", reason="not enough memory").to_plain()}
        with os.fdopen(sending, "wb") as file:
            file.write(json.dumps(message).encode())
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
