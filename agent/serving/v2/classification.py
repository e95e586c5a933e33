"""The classification extension: instead of an output's numbers, its best classes as `value:index:label`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from agent.serving.tensors import Array


def best_classes(array: Array, count: int, labels: Sequence[str]) -> list[list[str]]:
    """The best classes of each sample, the best first.

    Args:
        array: of one output, axis 0 the batch.
        count: of classes; all of them where there are fewer.
        labels: by index; where there is none, the string ends with the index.
    """
    rows = array.reshape(len(array), -1)
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    form = "%f" if array.dtype.kind == "f" else "%d"
    return [
        [
            f"{form % row[index]}:{index}" + (f":{labels[index]}" if index < len(labels) else "")
            for index in indexes
        ]
        for row, indexes in zip(rows, order)  # noqa: B905 - one order a row
    ]
