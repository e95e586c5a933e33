"""The engine alone: a bundle's artifact on its own golden set, one sample after the other, in this process.

The rule: no server, no connection, no other thread: what it takes is the least that any server around it can take.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from agent.bench.facts import heat, heat_fields, memory
from agent.config import BoardFolder, read_config, read_generation
from agent.contract.errors import Interrupted, ModelNotServed, OptionInvalid
from agent.contract.load import LoadReport, bucket, counted


def bundle_of(root: Path | None, bundle: Path | None, model: str | None) -> tuple[Path, int]:
    """The bundle's folder that is meant, and how many threads the engine gets: those of this board, else one.

    Args:
        root: the board's folder, where there is one.
        bundle: the folder, where it is said.
        model: else the name of a model that the board serves.

    Raises:
        ModelNotServed: the board's generation has no such model. OptionInvalid: neither is said.
    """
    board = BoardFolder(root) if root is not None else None
    threads = read_config(board).threads if board is not None and board.config.exists() else 1
    if bundle is not None:
        return bundle, threads
    if board is None or model is None:
        raise OptionInvalid(option="--bundle", reason="say which bundle's engine is meant")
    for served in read_generation(board.current).models:
        if served.name == model:
            return board.object(served.bundle), threads
    raise ModelNotServed(model=model)


def engine_alone(
    folder: Path, *, threads: int, seconds: float, warm_up_s: float, gone: threading.Event
) -> LoadReport:
    """Run a bundle's artifact again and again.

    Args:
        folder: the bundle's.
        threads: of the engine.
        seconds: how long.
        warm_up_s: how long before that, not counted.
        gone: set when nobody waits for the numbers any more; the window ends then.

    Raises:
        Interrupted: before the window began.
        EdgeError: an artifact that is not what it should be, or an engine that says no.
    """
    from agent.models import Model, open_bundle, ordered
    from agent.transforms.golden import read_golden

    bundle = open_bundle(folder)
    manifest = bundle.manifest
    model = Model(bundle, threads=threads)
    arrays = ordered(read_golden(bundle.golden_file).inputs, manifest.inputs, model.inputs)
    batch = model.fixed_batch or 1
    samples = [
        [array[start : start + batch] for array in arrays]
        for start in range(0, len(arrays[0]) - batch + 1, batch)
    ]
    before, clock = heat(folder), time.perf_counter
    end, turn = clock() + warm_up_s, 0
    while (turn < 3 or clock() < end) and not gone.is_set():
        model.run(samples[turn % len(samples)])
        turn += 1
    if gone.is_set():
        raise Interrupted
    counts: dict[int, int] = {}
    turn, cpu, began = 0, time.process_time(), clock()
    now, end = began, began + seconds
    while (now < end and not gone.is_set()) or not turn:
        model.run(samples[turn % len(samples)])
        turn, past, now = turn + 1, now, clock()
        at = bucket(int((now - past) * 1e9))
        counts[at] = counts.get(at, 0) + 1
    cpu = time.process_time() - cpu
    return LoadReport(
        model=manifest.model,
        version="",
        engine=f"{model.engine_name} {model.engine_version}",
        way="engine",
        warm_up_s=warm_up_s,
        seconds=now - began,
        connections=1,
        request_bytes=sum(array[:batch].nbytes for array in arrays),
        requests=turn,
        sent=turn,
        errors={},
        latencies=counted(counts),
        generator_cpu_s=0.0,
        server_cpu_s=cpu,
        inferences=turn * batch,
        executions=turn,
        cut=gone.is_set(),
        **memory(os.getpid()),
        **heat_fields(before, heat(folder)),
    )
