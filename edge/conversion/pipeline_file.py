"""A pipeline as a file: what a model's outputs mean, and the steps from a picture to its input and on to an answer.

The rule: one TOML file declares all that is not derived, and what it does not name stays derived. Steps are those of
`agent.transforms.pipeline`; each is a table with `step`, its name, and its parameters. `[table]` says which columns of
a CSV or Parquet file are the features, in the model's order, and which is the label:

    task = "detection"

    [[preprocessing]]
    step = "letterbox"
    height = 640
    …

    [[postprocessing]]
    step = "nms"
    …

    [table]
    columns = ["width", "height"]
    label = "kind"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataUnreadable, DocumentInvalid
from agent.contract.manifest import Step, Task, TensorSpec
from agent.transforms.answers import answer, check_postprocessing
from agent.transforms.inputs import fitting
from agent.transforms.pipeline import apply, check_steps, takes_sound
from agent.transforms.quantization import dequantize

TASKS = tuple(task.value for task in Task if task is not Task.UNKNOWN)
KEYS = frozenset({"task", "preprocessing", "postprocessing", "table"})
TABLE_KEYS = frozenset({"columns", "label"})


@dataclass(frozen=True, kw_only=True)
class DeclaredTable:
    """Columns of a CSV or Parquet file.

    Attributes:
        columns: the features, in the model's order; none: all but the label.
        label: the label's, or None.
    """

    columns: tuple[str, ...] = ()
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeclaredPipeline:
    """What the user declares; None is derived.

    Attributes:
        task: what the outputs mean.
        preprocessing: steps from a decoded input to the model's.
        postprocessing: steps from the outputs to an answer.
        table: columns of data that are a table.
    """

    task: Task | None = None
    preprocessing: tuple[Step, ...] | None = None
    postprocessing: tuple[Step, ...] | None = None
    table: DeclaredTable = field(default_factory=DeclaredTable)

    def check(self) -> None:
        """Refuse what can't be carried out.

        Raises:
            DocumentInvalid: a step, or a task that its steps do not lead to.
        """
        check_steps(self.preprocessing or ())
        check_steps(self.postprocessing or ())
        if self.task is not None:
            check_postprocessing(self.task, self.postprocessing or ())

    def check_fits(
        self,
        task: Task,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        answers: Sequence[NDArray[Any]],
    ) -> None:
        """Refuse steps that do not lead to the model's input, or not from what it answered.

        Args:
            task: what the outputs mean.
            inputs: of the artifact.
            outputs: of the artifact.
            answers: one array `[N, ...]` an output, engine dtype.

        Raises:
            DocumentInvalid, RequestInvalid: with the step or shape that does not fit.
        """
        if self.preprocessing is not None:
            sound = takes_sound(self.preprocessing)
            empty = np.zeros(1, np.float32) if sound else np.zeros((64, 64, 3), np.uint8)
            fitting(apply(self.preprocessing, empty), inputs[0])
        if self.postprocessing is not None:
            check_postprocessing(task, self.postprocessing)
            first = {
                spec.name: dequantize(array[:1], spec) for spec, array in zip(outputs, answers, strict=True)
            }
            answer(task, self.postprocessing, first)


def read_pipeline(path: Path) -> DeclaredPipeline:
    """Read a pipeline's file.

    Raises:
        DataUnreadable: it is no TOML file.
        DocumentInvalid: it holds something else than a pipeline.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataUnreadable(path=path, reason=error.strerror or str(error)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataUnreadable(path=path, reason=str(error)) from error
    if unknown := sorted(set(plain) - KEYS):
        known = ", ".join(sorted(KEYS))
        raise DocumentInvalid(document=path.name, reason=f"`{unknown[0]}` is none of {known}")
    task = plain.get("task")
    if task is not None and task not in TASKS:
        raise DocumentInvalid(document=path.name, reason=f"`task` must be one of {', '.join(TASKS)}")
    return DeclaredPipeline(
        task=Task(task) if task else None,
        preprocessing=_steps(plain, "preprocessing", path.name),
        postprocessing=_steps(plain, "postprocessing", path.name),
        table=_table(plain.get("table", {}), path.name),
    )


def _table(plain: Any, document: str) -> DeclaredTable:
    if not isinstance(plain, dict) or (unknown := sorted(set(plain) - TABLE_KEYS)):
        reason = (
            f"`[table]` holds `columns` and `label`, not {unknown[0] if isinstance(plain, dict) else plain!r}"
        )
        raise DocumentInvalid(document=document, reason=reason)
    columns, label = plain.get("columns", []), plain.get("label")
    names = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
    if (
        not names
        or len(set(columns)) != len(columns)
        or label in columns
        or not isinstance(label, str | None)
    ):
        reason = "`columns` must be names, each once, and `label` the name of another column"
        raise DocumentInvalid(document=document, reason=reason)
    return DeclaredTable(columns=tuple(columns), label=label)


def _steps(plain: Mapping[str, Any], key: str, document: str) -> tuple[Step, ...] | None:
    tables = plain.get(key)
    if tables is None:
        return None
    if not isinstance(tables, list) or not all(
        isinstance(table, dict) and isinstance(table.get("step"), str) for table in tables
    ):
        reason = f"`{key}` must be tables `[[{key}]]`, each with `step`"
        raise DocumentInvalid(document=document, reason=reason)
    return tuple(
        Step(table["step"], {name: value for name, value in table.items() if name != "step"})
        for table in tables
    )
