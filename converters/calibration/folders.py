"""A folder of pictures or sounds: which files are samples, and what class each of them is.

The rule: every file is a sample or is refused by its name, nothing is passed over but names that begin with a dot. The
order is that of the names, whatever the file system says. Classes come from a table `labels.csv` in the folder (a
file's name and its class in a row), else from the names of the folders that hold the files; a folder that holds its
files itself has none.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.contract.errors import DataMismatch, DataUnreadable
from converters.calibration.boxes import TrueBoxes, read_boxes
from converters.calibration.classes import SHOWN, Classes, numbered
from converters.calibration.source import DataSource, LabelKind

LABELS_FILE = "labels.csv"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What a folder holds.

    Attributes:
        path: of the folder.
        files: names of the samples in it, `/` between their parts, sorted.
        classes: of the samples, or None.
        boxes: in the pictures, or None.
        table: the file of labels, or None.
    """

    path: Path
    files: tuple[str, ...]
    classes: Classes | None
    table: str | None
    boxes: TrueBoxes | None = None


def survey(source: DataSource, *, purpose: str) -> Folder:
    """Which files are samples and what they are, without reading one.

    Raises:
        DataUnreadable: a file or folder can be no sample.
        DataMismatch: a class is none of the labels.
    """
    root = source.path
    names = _files(root)
    if LABELS_FILE in names:
        files = tuple(name for name in names if name != LABELS_FILE)
        if source.label_kind is LabelKind.BOXES and files:
            boxes = read_boxes(root / LABELS_FILE, files, source.labels, path=root, purpose=purpose)
            return Folder(path=root, files=files, classes=None, table=LABELS_FILE, boxes=boxes)
        told = _told(root / LABELS_FILE, source.label_column)
        classes = _by_table(root, files, told, source, purpose)
        return Folder(path=root, files=files, classes=classes, table=LABELS_FILE)
    beside = [name for name in names if "/" not in name]
    if beside and len(beside) < len(names) and source.label_kind is not LabelKind.BOXES:
        reason = f"{_listed(beside)} in it: beside folders of classes"
        raise DataUnreadable(path=root, reason=reason)
    if not names:
        raise DataUnreadable(path=root, reason="the folder is empty")
    if beside or source.label_kind is LabelKind.BOXES:
        return Folder(path=root, files=names, classes=None, table=None)
    found = [PurePosixPath(name).parts[0] for name in names]
    classes = numbered(found, source.labels, path=root, purpose=purpose, what="folder", numbers=False)
    return Folder(path=root, files=names, classes=classes, table=None)


def _files(root: Path) -> tuple[str, ...]:
    """Every file below the folder, sorted."""
    found = []

    def refuse(error: OSError) -> None:
        raise DataUnreadable(path=root, reason=f"`{error.filename}`: {error.strerror}") from error

    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if links := [name for name in folders if (Path(folder) / name).is_symlink()]:
            raise DataUnreadable(path=root, reason=f"{_listed(links)} is a link to a folder")
        shown = [Path(folder) / name for name in files if not name.startswith(".")]
        if not shown and not folders and Path(folder) != root:
            raise DataUnreadable(path=root, reason=f"the folder `{Path(folder).name}` in it is empty")
        found += [path.relative_to(root).as_posix() for path in shown]
    return tuple(sorted(found))


def _told(table: Path, label_column: str | None) -> dict[str, str]:
    """The class of each file that the table names."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataUnreadable(path=table, reason=str(error)) from error
    if label_column is None and len(header) != 2:
        reason = f"it has {len(header)} columns; say with --label-column which one holds the class"
        raise DataUnreadable(path=table, reason=reason)
    if label_column is not None and label_column not in header[1:]:
        raise DataUnreadable(path=table, reason=f"it has no label column `{label_column}` behind its first")
    place = 1 if label_column is None else header.index(label_column)
    told: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != len(header) or not row[place]:
            raise DataUnreadable(path=table, reason=f"row {number} is not whole")
        if row[0] in told:
            raise DataUnreadable(path=table, reason=f"it names `{row[0]}` twice")
        told[row[0]] = row[place]
    return told


def _by_table(
    root: Path, files: Sequence[str], told: dict[str, str], source: DataSource, purpose: str
) -> Classes:
    if unlabelled := [name for name in files if name not in told]:
        raise DataMismatch(
            purpose=purpose,
            path=root,
            reason=f"`{LABELS_FILE}` has no class for {_listed(unlabelled)}",
            expected="a class for each file",
        )
    if missing := sorted(set(told) - set(files)):
        raise DataUnreadable(
            path=root, reason=f"`{LABELS_FILE}` names {_listed(missing)}: no such file in it"
        )
    if not files:
        raise DataUnreadable(path=root, reason=f"`{LABELS_FILE}` is all that it holds")
    found = [told[name] for name in files]
    return numbered(found, source.labels, path=root, purpose=purpose, what="label", numbers=True)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
