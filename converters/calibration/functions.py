"""A function of the user's own that yields samples.

The rule: it is the user's code and runs in the child process alone, imported from the folder where edge was started.
What it yields is a sample, or several behind one batch axis: an array; a list or a dictionary by input name where the
model has several inputs; any of these with labels as `(x, y)`.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec
from converters.calibration.arrays import plain_name
from converters.calibration.casting import Array
from converters.calibration.data import Data, check_arrays, checked_labels, described
from converters.calibration.memory import check_fits
from converters.calibration.source import DataSource, function_of
from converters.own_code import FAULTS, module_of


def call(source: DataSource, specs: Sequence[TensorSpec], *, purpose: str) -> Data:
    """Everything that the function yields.

    Args:
        source: names it.
        specs: the model's inputs.
        purpose: `calibration` or `evaluation`, for the sentence of an error.

    Raises:
        DataUnreadable: it is not there, or raises.
        DataMismatch: it yields something else than samples of the model's inputs.
    """
    blocks: list[list[Array]] = [[] for _ in specs]
    labels: list[Array] = []
    held = 0
    for number, item in enumerate(_yielded(source)):
        x, y = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        try:
            arrays = [_batch(array, spec) for array, spec in zip(_inputs(x, specs), specs, strict=True)]
        except (ValueError, TypeError, KeyError) as error:
            expected = " and ".join(described(spec) for spec in specs)
            reason = f"its item {number} is no sample: {error}"
            raise DataMismatch(purpose=purpose, path=source.path, reason=reason, expected=expected) from error
        for block, array in zip(blocks, arrays, strict=True):
            block.append(array)
            held += array.nbytes
        if y is not None:
            labels.append(np.atleast_1d(np.asarray(y)))
        check_fits(source.path, held, f"its first {number + 1:,} items")
    if not blocks[0]:
        raise DataUnreadable(path=source.path, reason="it yields nothing")
    return _joined(source, specs, blocks, labels, purpose)


def _joined(
    source: DataSource,
    specs: Sequence[TensorSpec],
    blocks: Sequence[list[Array]],
    labels: list[Array],
    purpose: str,
) -> Data:
    try:
        inputs = tuple(np.concatenate(block) for block in blocks)
        y = np.concatenate(labels) if labels else None
    except ValueError as error:
        raise DataMismatch(
            purpose=purpose,
            path=source.path,
            reason=f"its items differ: {error}",
            expected="one shape for all",
        ) from error
    named = {plain_name(spec): array for spec, array in zip(specs, inputs, strict=True)}
    check_arrays(named, path=source.path, purpose=purpose)
    if y is not None:
        y = checked_labels(y, len(inputs[0]), path=source.path, purpose=purpose, label_kind=source.label_kind)
    digest = hashlib.sha256()
    for array in (*inputs, *(() if y is None else (y,))):
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return Data(path=source.path, sha256=digest.hexdigest(), inputs=inputs, y=y)


def _inputs(x: Any, specs: Sequence[TensorSpec]) -> list[Any]:
    """One array an input, in the model's order."""
    if isinstance(x, Mapping):
        if unknown := set(x) - {name for spec in specs for name in (spec.name, plain_name(spec))}:
            raise ValueError(f"`{min(unknown)}` is no input of the model")
        return [x[spec.name] if spec.name in x else x[plain_name(spec)] for spec in specs]
    if isinstance(x, list) and len(x) == len(specs) and all(isinstance(array, np.ndarray) for array in x):
        return x
    if len(specs) != 1:
        raise ValueError(f"the model has {len(specs)} inputs: yield a dictionary by their names")
    return [x]


def _batch(array: Any, spec: TensorSpec) -> Array:
    """`[n, ...]`."""
    found = np.asarray(array)
    if found.ndim == len(spec.shape) - 1:
        found = found[np.newaxis]
    if found.ndim != len(spec.shape):
        raise ValueError(f"its shape is {list(found.shape)}")
    if found.dtype.kind not in "biuf":
        raise ValueError(f"it holds {found.dtype}")
    return found


def _yielded(source: DataSource) -> Iterator[Any]:
    """What the function yields; its errors with the line that they come from."""
    module, name = function_of(source.location)
    try:
        function = getattr(module_of(module), name, None)
        if not callable(function):
            raise DataUnreadable(path=source.path, reason=f"`{module}` has no function `{name}`")
        made: Callable[[], Iterable[Any]] = function
        yield from made()
    except DataUnreadable:
        raise
    except FAULTS as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "its call"
        reason = f"{type(error).__name__} in {place}: {' '.join(str(error).split())[:200]}"
        raise DataUnreadable(path=source.path, reason=reason) from error
