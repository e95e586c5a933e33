"""The door for calibration and held-out data.

The rule: `look` refuses what can be seen to be wrong without the model and without running code of the user's own;
`read` gives the arrays of the model's inputs, whatever the source.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.contract.errors import DataMismatch
from agent.contract.manifest import Step, TensorSpec
from converters.calibration import arrays, functions
from converters.calibration.data import EVALUATION, Data, check_labels, described, fitted
from converters.calibration.files import read_files
from converters.calibration.folders import survey
from converters.calibration.source import DataKind, DataSource, LabelKind
from converters.calibration.tables import read_table

WAY_OUT = "say what pixel values become with --input-scale LOW,HIGH, or all steps with --pipeline FILE"


def look(source: DataSource, *, purpose: str) -> None:
    """Refuse what is wrong whatever the model is.

    Raises:
        DataUnreadable, DataMismatch, ExtraMissing: so.
    """
    if source.kind is DataKind.FOLDER:
        if source.steps is None and source.scale is None:
            reason = "nothing says how its files become an input"
            raise DataMismatch(
                purpose=purpose, path=source.path, reason=reason, expected=f"arrays: {WAY_OUT}"
            )
        survey(source, purpose=purpose)
    elif source.kind is DataKind.ARRAYS:
        arrays.load(source.path, purpose=purpose, label_kind=source.label_kind)
    elif source.kind is not DataKind.FUNCTION:
        table = read_table(source, purpose=purpose)
        if table.labels is not None and source.label_kind is LabelKind.CLASSES:
            table.classes(source, purpose=purpose)


def read(
    source: DataSource,
    specs: Sequence[TensorSpec],
    *,
    steps: Sequence[Step],
    purpose: str,
    classes: int | None = None,
) -> Data:
    """The data of a source for a model.

    Args:
        source: where they are.
        specs: the model's inputs.
        steps: preprocessing of pictures and sounds, declared or derived; none where neither says anything.
        purpose: `calibration` or `evaluation`.
        classes: scores in the model's first output, or None; labels of held-out data must be some of them.

    Raises:
        DataUnreadable, DataMismatch, ExtraMissing: it can't be used.
    """
    data = fitted(_read(source, specs, steps, purpose), specs, purpose=purpose)
    if purpose == EVALUATION and source.label_kind is LabelKind.CLASSES:
        check_labels(data, classes, purpose=purpose)
    return data


def _read(source: DataSource, specs: Sequence[TensorSpec], steps: Sequence[Step], purpose: str) -> Data:
    if source.kind is DataKind.ARRAYS:
        return arrays.load(source.path, purpose=purpose, label_kind=source.label_kind).bound(
            specs, purpose=purpose
        )
    if source.kind is DataKind.FUNCTION:
        return functions.call(source, specs, purpose=purpose)
    if source.kind is not DataKind.FOLDER:
        return read_table(source, purpose=purpose).bound(source, specs, purpose=purpose)
    folder = survey(source, purpose=purpose)
    if not steps:
        wanted = " and ".join(described(spec) for spec in specs)
        reason = "nothing says how its files become the model's input"
        raise DataMismatch(purpose=purpose, path=source.path, reason=reason, expected=f"{wanted}: {WAY_OUT}")
    return read_files(folder, steps, specs, purpose=purpose)
