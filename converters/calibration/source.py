"""What the user gave as data: a file, a folder, or a function of their own.

The rule: a path that exists is that path; `module:function` and `FILE.py:function` are code, which is recognised here
and run in the child process alone.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import DataUnreadable
from agent.contract.manifest import Step

PARQUET = b"PAR1"
_FUNCTION = re.compile(r"(?P<module>.+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


class DataKind(enum.StrEnum):
    """How data are kept."""

    ARRAYS = "arrays"
    FOLDER = "folder"
    CSV = "csv"
    PARQUET = "parquet"
    FUNCTION = "function"


class LabelKind(enum.StrEnum):
    """What labels are: one class a sample, numbers, or boxes with their classes."""

    CLASSES = "classes"
    QUANTITIES = "quantities"
    BOXES = "boxes"


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Data that were given, and how they become a model's inputs.

    Attributes:
        location: an absolute path, or `module:function`, `FILE.py:function`.
        kind: how they are kept.
        labels: names of the classes in their order, or none.
        steps: of pictures and sounds, as declared; None derives those of pictures from `scale`.
        scale: what pixel values 0 and 255 become, two numbers, or None.
        columns: of a table, the model's features in their order; none: all but that of the labels.
        label_column: of a table, or None.
        label_kind: what `y` holds.
    """

    location: str
    kind: DataKind
    labels: tuple[str, ...] = ()
    steps: tuple[Step, ...] | None = None
    scale: tuple[float, ...] | None = None
    columns: tuple[str, ...] = ()
    label_column: str | None = None
    label_kind: LabelKind = LabelKind.CLASSES

    @property
    def path(self) -> Path:
        """The location, as a path; for sentences where it is a function."""
        return Path(self.location)


def locate(given: Path) -> tuple[str, DataKind]:
    """The location and kind of what stands on the command line.

    Raises:
        DataUnreadable: there is nothing, or nothing that holds data.
    """
    function = _FUNCTION.fullmatch(str(given))
    if function is not None and not given.exists():
        file = Path(function["module"])
        if file.suffix == ".py" and not file.is_file():
            raise DataUnreadable(path=given, reason=f"there is no file `{file}`")
        return str(given), DataKind.FUNCTION
    if given.is_dir():
        return str(given.resolve()), DataKind.FOLDER
    return str(given.resolve()), _kind_of_file(given)


def function_of(location: str) -> tuple[str, str]:
    """Module or file, and the name of the function in it."""
    found = _FUNCTION.fullmatch(location)
    assert found is not None, "a location of the kind `function` was recognised by `locate`"
    return found["module"], found["name"]


def _kind_of_file(path: Path) -> DataKind:
    if not path.exists():
        raise DataUnreadable(path=path, reason="there is no such file")
    if not path.is_file():
        raise DataUnreadable(path=path, reason="it is no plain file")
    try:
        with path.open("rb") as file:
            head = file.read(len(PARQUET))
    except OSError as error:
        raise DataUnreadable(path=path, reason=error.strerror or str(error)) from error
    if head == PARQUET:
        return DataKind.PARQUET
    return DataKind.CSV if path.suffix.lower() == ".csv" else DataKind.ARRAYS
