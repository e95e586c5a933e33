"""CSV and Parquet: one row a sample, columns with names.

The rule: a row is a sample as the model takes it, its columns in the order that was given (else the file's), so that
the same numbers go to the board; a cell that is no finite number is refused with its row and column.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataMismatch, DataUnreadable, ExtraMissing
from agent.contract.manifest import TensorSpec
from converters.calibration.casting import Array, cast
from converters.calibration.classes import Classes, numbered
from converters.calibration.data import EVALUATION, Data, checked_labels, real_dtype
from converters.calibration.memory import check_fits
from converters.calibration.source import DataKind, DataSource, LabelKind

ROWS = 4096
"""Rows that are read at a time."""

Cells = Sequence[Sequence[Any]]
"""Of some rows: a cell for each column, text or numbers, None where it is empty."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in memory.

    Attributes:
        path, sha256: of the file.
        columns: names of the features.
        features: float64 `[N, columns]`, finite.
        labels: the label column's cells, or None.
    """

    path: Path
    sha256: str
    columns: tuple[str, ...]
    features: NDArray[np.float64]
    labels: tuple[str, ...] | None

    def bound(self, source: DataSource, specs: Sequence[TensorSpec], *, purpose: str) -> Data:
        """The rows as a model's input.

        Raises:
            DataMismatch: the model has several inputs, a number is none of its type, or a label none of the labels.
        """
        if len(specs) != 1:
            reason = f"the model has {len(specs)} inputs, a table holds one"
            raise DataMismatch(
                purpose=purpose, path=self.path, reason=reason, expected=".npz with an array for each input"
            )
        x = self._cast(np.dtype(real_dtype(specs[0])), purpose)
        if self.labels is None:
            return Data(path=self.path, sha256=self.sha256, inputs=(x,))
        if source.label_kind is LabelKind.QUANTITIES:
            return Data(path=self.path, sha256=self.sha256, inputs=(x,), y=self._quantities(purpose))
        found = self.classes(source, purpose=purpose)
        return Data(path=self.path, sha256=self.sha256, inputs=(x,), y=found.y, classes=found.names)

    def classes(self, source: DataSource, *, purpose: str) -> Classes:
        """The label column as classes.

        Raises:
            DataMismatch: a name is none of the labels.
        """
        found = self.labels or ()
        return numbered(found, source.labels, path=self.path, purpose=purpose, what="label", numbers=True)

    def _cast(self, wanted: np.dtype[Any], purpose: str) -> Array:
        made, place = cast(self.features, wanted)
        if place is not None:
            row, column = place
            value = f"{self.features[row, column]:g}"
            reason = f"row {row + 1}, column `{self.columns[column]}`: {value} is no {wanted}"
            raise DataMismatch(
                purpose=purpose, path=self.path, reason=reason, expected=f"numbers of the type {wanted}"
            )
        return made

    def _quantities(self, purpose: str) -> Array:
        try:
            y = np.array(self.labels, dtype=np.float64)
        except ValueError as error:
            raise DataMismatch(
                purpose=purpose, path=self.path, reason=f"label column: {error}", expected="numbers as labels"
            ) from error
        return checked_labels(
            y, len(self.features), path=self.path, purpose=purpose, label_kind=LabelKind.QUANTITIES
        )


def read_table(source: DataSource, *, purpose: str) -> Table:
    """Read a table.

    Raises:
        DataUnreadable: it is none, or has not the columns that were asked for.
        DataMismatch: a cell is no finite number.
        ExtraMissing: a Parquet file, and pyarrow is not installed.
    """
    path = source.path
    header, rows = _csv(path) if source.kind is DataKind.CSV else _parquet(path)
    label = _label_place(source, header, purpose)
    places = _feature_places(source, header, label)
    names = tuple(header[place] for place in places)
    blocks: list[NDArray[np.float64]] = []
    labels: list[str] = []
    count = 0
    while some := _next_rows(path, rows):
        blocks.append(_numbers(some, places, header, count, path=path, purpose=purpose))
        labels += [] if label is None else [_label(row[label], count + k, path) for k, row in enumerate(some)]
        count += len(some)
        check_fits(path, count * len(places) * 8, f"its first {count:,} rows")
    if not count or not places:
        raise DataUnreadable(path=path, reason=f"it holds {count} rows of {len(places)} features")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Table(
        path=path,
        sha256=digest,
        columns=names,
        features=np.concatenate(blocks),
        labels=None if label is None else tuple(labels),
    )


def _label_place(source: DataSource, header: Sequence[str], purpose: str) -> int | None:
    """The label column's; calibration needs none."""
    name = source.label_column
    if name is None or (name not in header and purpose != EVALUATION):
        return None
    if name not in header:
        raise DataUnreadable(path=source.path, reason=f"it has no label column `{name}`: {_few(header)}")
    return header.index(name)


def _feature_places(source: DataSource, header: Sequence[str], label: int | None) -> list[int]:
    if not source.columns:
        return [place for place in range(len(header)) if place != label]
    if missing := [name for name in source.columns if name not in header]:
        raise DataUnreadable(path=source.path, reason=f"it has no column `{missing[0]}`: {_few(header)}")
    return [header.index(name) for name in source.columns]


def _few(header: Sequence[str]) -> str:
    return f"its columns are {', '.join(header[:8])}{' …' if len(header) > 8 else ''}"


def _next_rows(path: Path, rows: Iterator[Sequence[Any]]) -> Cells:
    try:
        return list(islice(rows, ROWS))
    except (csv.Error, ValueError, OSError) as error:  # of pyarrow too, and of text that is none
        raise DataUnreadable(path=path, reason=" ".join(str(error).split())[:200]) from error


def _numbers(
    rows: Cells, places: Sequence[int], header: Sequence[str], before: int, *, path: Path, purpose: str
) -> NDArray[np.float64]:
    """float64 `[rows, places]`."""
    for number, row in enumerate(rows, before + 1):
        if len(row) != len(header):
            raise DataUnreadable(
                path=path, reason=f"row {number} has {len(row)} cells, its header {len(header)}"
            )
    picked = [[row[place] for place in places] for row in rows]
    try:
        block = np.array(picked, dtype=np.float64)
        if np.isfinite(block).all():
            return block
    except (TypeError, ValueError):
        pass  # the cell is looked for below
    for number, row in enumerate(picked, before + 1):
        for place, cell in zip(places, row, strict=True):
            if not _is_finite(cell):
                said = "is empty" if cell in (None, "") else f"holds `{str(cell)[:40]}`"
                reason = f"row {number}, column `{header[place]}` {said}"
                raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="finite numbers")
    raise DataUnreadable(path=path, reason=f"its rows from {before + 1} on hold no numbers")


def _is_finite(cell: Any) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except (TypeError, ValueError):
        return False


def _label(cell: Any, row: int, path: Path) -> str:
    if cell is None or cell == "":
        raise DataUnreadable(path=path, reason=f"row {row + 1} has no label")
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _csv(path: Path) -> tuple[list[str], Iterator[Sequence[Any]]]:
    rows = _csv_rows(path)
    try:
        header = next(rows, [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataUnreadable(path=path, reason=str(error)) from error
    reason = None
    if not header:
        reason = "it is empty"
    elif any(_is_finite(name) or not name for name in header):
        reason = "its first line holds numbers or nothing, where names of columns are wanted"
    elif len(set(header)) != len(header):
        reason = "two of its columns have one name"
    elif len(header) == 1 and ";" in header[0]:
        reason = "its columns are divided by `;`, where `,` is wanted"
    if reason is not None:
        raise DataUnreadable(path=path, reason=reason)
    return header, rows


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """Rows that are not blank, the header first."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from (row for row in csv.reader(file) if row)


def _parquet(path: Path) -> tuple[list[str], Iterator[Sequence[Any]]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ExtraMissing(package="pyarrow", extra="parquet") from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        raise DataUnreadable(path=path, reason=" ".join(str(error).split())[:200]) from error
    check_fits(
        path, file.metadata.num_rows * file.metadata.num_columns * 8, f"its {file.metadata.num_rows:,} rows"
    )
    batches = file.iter_batches(batch_size=ROWS)
    return list(file.schema_arrow.names), (
        row
        for batch in batches
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
