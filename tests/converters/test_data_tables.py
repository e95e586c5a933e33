"""CSV and Parquet as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec
from converters.calibration.data import CALIBRATION, EVALUATION, Data
from converters.calibration.read import look, read
from converters.calibration.source import DataSource, LabelKind, locate
from converters.calibration.tables import ROWS

SPEC = TensorSpec(name="row", dtype="float32", shape=(-1, 2))
WHOLE = TensorSpec(name="row", dtype="int32", shape=(-1, 2))
COLUMNS: dict[str, list[Any]] = {
    "width": [1.5, 2.5, 3.5],
    "kind": ["oak", "ash", "oak"],
    "height": [10, 20, 30],
}


def written(folder: Path, kind: str, columns: dict[str, list[Any]] = COLUMNS) -> Path:
    path = folder / f"trees.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    else:
        rows = [columns, *zip(*columns.values(), strict=True)]
        path.write_text(
            "".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows)
        )
    return path


def taken(
    path: Path, spec: TensorSpec = SPEC, *, purpose: str = EVALUATION, classes: int = 2, **more: Any
) -> Data:
    location, kind = locate(path)
    source = DataSource(location=location, kind=kind, **{"label_column": "kind", **more})
    look(source, purpose=purpose)
    return read(source, [spec], steps=(), purpose=purpose, classes=classes)


@pytest.fixture(params=["csv", "parquet"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_rows_are_samples_and_names_are_classes(tmp_path: Path, kind: str) -> None:
    data = taken(written(tmp_path, kind))

    assert data.x.dtype == np.float32
    assert data.x.tolist() == [[1.5, 10], [2.5, 20], [3.5, 30]]
    assert data.y.tolist() == [1, 0, 1]
    assert data.classes == ("ash", "oak")


def test_columns_come_in_the_order_that_is_given(tmp_path: Path, kind: str) -> None:
    data = taken(
        written(tmp_path, kind), columns=("height", "width"), labels=("oak", "elm", "ash"), classes=3
    )

    assert data.x[0].tolist() == [10, 1.5]
    assert data.y.tolist() == [0, 2, 0]


def test_calibration_needs_no_labels(tmp_path: Path, kind: str) -> None:
    columns = {name: cells for name, cells in COLUMNS.items() if name != "kind"}

    assert taken(written(tmp_path, kind, columns), purpose=CALIBRATION).y is None
    with pytest.raises(DataUnreadable, match="no label column `kind`: its columns are width, height"):
        taken(written(tmp_path, kind, columns))


@pytest.mark.parametrize("cells", [[0, 1, 0], [0.0, 1.0, 0.0]])
def test_numbers_are_the_classes_themselves(tmp_path: Path, cells: list[Any]) -> None:
    data = taken(written(tmp_path, "parquet", {**COLUMNS, "kind": cells}), labels=("oak", "ash"))

    assert data.y.tolist() == [0, 1, 0]


def test_quantities_stay_numbers(tmp_path: Path, kind: str) -> None:
    data = taken(
        written(tmp_path, kind, {**COLUMNS, "kind": [0.5, 1.5, -2]}), label_kind=LabelKind.QUANTITIES
    )

    assert data.y.tolist() == [0.5, 1.5, -2]


@pytest.mark.parametrize("cell", [None, float("nan"), float("inf")])
def test_a_cell_that_is_no_number_is_refused_with_its_place(tmp_path: Path, kind: str, cell: Any) -> None:
    """Also where it does not lie among the rows that are read first."""
    columns = {name: [*cells[:2]] * (ROWS // 2) + [cells[2]] for name, cells in COLUMNS.items()}
    columns["width"][-1] = cell
    row = ROWS + 1

    with pytest.raises(DataMismatch, match=rf"row {row}, column `width` (is empty|holds `(nan|inf)`)"):
        taken(written(tmp_path, kind, columns))


def test_text_and_numbers_of_another_type_are_refused_with_their_place(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataMismatch, match="row 1, column `kind` holds `oak`"):
        taken(written(tmp_path, kind), columns=("kind", "height"), label_column=None)
    with pytest.raises(DataMismatch, match=r"row 1, column `width`: 1\.5 is no int32"):
        taken(written(tmp_path, kind), WHOLE)


def test_labels_that_are_none_of_the_model_s_are_refused(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)

    with pytest.raises(DataMismatch, match="label `ash`: no such label among the 2"):
        taken(path, labels=("oak", "elm"))
    with pytest.raises(DataMismatch, match="names 2 classes, the model has 3"):
        taken(path, classes=3)
    with pytest.raises(DataUnreadable, match="no column `depth`"):
        taken(path, columns=("depth",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("1,2\n3,4\n", "first line holds numbers"),
        ("width,width\n1,2\n", "one name"),
        ("width;height\n1;2\n", "divided by `;`"),
        ("width,height\n", "0 rows of 2 features"),
        ("width,height\n1\n", "row 1 has 1 cells, its header 2"),
        ("width,height\n1,\xe9\n", "utf-8"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "trees.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataUnreadable, match=words):
        taken(path, label_column=None)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataUnreadable):
        taken(path)
