"""What the user gave, checked before anything is started."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.contract.errors import DataMismatch, DataUnreadable, OptionInvalid
from agent.contract.manifest import Task
from agent.contract.names import check_name
from converters.calibration.data import CALIBRATION, EVALUATION
from converters.calibration.read import look
from converters.calibration.source import DataSource, LabelKind, locate
from converters.metrics.metric import check as check_metric
from converters.recipe import AUTO
from converters.source import SourceFormat, check_trust, recognise
from edge.bundle import MANIFEST
from edge.conversion.digest import digest_of
from edge.conversion.request import ConversionRequest, Measure


@dataclass(kw_only=True)
class Given:
    """What the user gave.

    Attributes:
        source: format of the model.
        sha256: of its file; of a folder, that of the names and digests in it.
        size_bytes: of its file, or of all in its folder.
        name: the model's.
        labels: one a class, or none.
        calibration, evaluation: where data are, or None.
        measures: by a profile's name, the measure function of its engine; None where there is no proof environment.
        boards: measure function of a board, by the profile that it stands for.
    """

    source: SourceFormat
    sha256: str
    size_bytes: int
    name: str
    labels: tuple[str, ...] = ()
    calibration: DataSource | None = None
    evaluation: DataSource | None = None
    measures: dict[str, Measure | None] = field(default_factory=dict)
    boards: Mapping[str, Measure] = field(default_factory=dict)


def model_name(path: Path) -> str:
    """A model's name from its file's: what may not stand in a name becomes `-`."""
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:64].strip("-") or "model"


def check(request: ConversionRequest) -> Given:
    """Everything that can be known to be wrong without starting a child."""
    if not 0 <= request.max_drop_points <= 100:
        raise OptionInvalid(
            option="--max-drop", reason=f"{request.max_drop_points} is not within 0 to 100 points"
        )
    scale = request.input_scale
    if scale is not None and not (
        math.isfinite(scale[0]) and math.isfinite(scale[1]) and scale[0] < scale[1]
    ):
        raise OptionInvalid(option="--input-scale", reason="LOW must be below HIGH")
    if request.prefer is not None and request.recipe != AUTO:
        raise OptionInvalid(
            option=f"--prefer {request.prefer}",
            reason=f"it chooses among the candidates of `--recipe {AUTO}`; `{request.recipe}` is one",
        )
    request.pipeline.check()
    if request.metric is not None:
        check_metric(request.metric, request.pipeline.task)
    name = check_name(request.name or model_name(request.model), what="model")
    for profile in request.profiles:
        place = request.output / profile.name
        if place.exists() and not (place / MANIFEST).exists():
            raise OptionInvalid(option="--output", reason=f"`{place}` is there already and is no bundle")
    check_place(request.output, option="--output")
    source = recognise(request.model)
    check_trust(request.model, source, request.trust)
    if request.signature is not None and source is not SourceFormat.SAVED_MODEL:
        raise OptionInvalid(option="--signature", reason=f"a {source.label} model has none")
    labels = _labels(request.labels)
    calibration = _data(request, request.calibration, labels, CALIBRATION)
    evaluation = _data(request, request.evaluation, labels, EVALUATION)
    digest = digest_of(request.model)
    return Given(
        source=source,
        sha256=digest.sha256,
        size_bytes=digest.size_bytes,
        name=name,
        labels=labels,
        calibration=calibration,
        evaluation=evaluation,
    )


LABEL_KINDS = {Task.REGRESSION: LabelKind.QUANTITIES, Task.DETECTION: LabelKind.BOXES}
"""Of other tasks labels are classes."""


def check_place(path: Path, *, option: str) -> None:
    """Refuse a place where nothing can be written, before minutes are spent on what is to lie there.

    Args:
        path: of a folder, which need not be there yet.
        option: that named it, for the sentence.

    Raises:
        OptionInvalid: the nearest folder that is there can't be written to, or is a file.
    """
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OptionInvalid(option=option, reason=f"`{there}` is no folder that can be written to")


def _data(
    request: ConversionRequest, given: Path | None, labels: tuple[str, ...], purpose: str
) -> DataSource | None:
    """Where data are and how they become inputs; what can be seen to be wrong is refused."""
    if given is None:
        return None
    location, kind = locate(given)
    table = request.pipeline.table
    source = DataSource(
        location=location,
        kind=kind,
        labels=labels,
        steps=request.pipeline.preprocessing,
        scale=request.input_scale,
        columns=table.columns,
        label_column=request.label_column or table.label,
        label_kind=LABEL_KINDS.get(request.pipeline.task or Task.UNKNOWN, LabelKind.CLASSES),
    )
    look(source, purpose=purpose)
    return source


def _labels(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataUnreadable(path=path, reason=str(getattr(error, "strerror", None) or error)) from error
    labels = tuple(line.strip() for line in lines)
    while labels and not labels[-1]:
        labels = labels[:-1]
    if not labels:
        raise DataMismatch(
            purpose="label", path=path, reason="it is empty", expected="one label a line for each class"
        )
    return labels
