"""What conversions made, kept: the same question is answered from the disk the next time.

The rule: a job is the same when everything that its child reads is: the bytes of the model and of the data, what is
asked for, the packages of this environment and the code that makes artifacts. What runs code of the user's own is never
kept, nor is a job with a target that might come to something the next time. Proofs, boards and verdicts are no part of
it: they are made each time. What is not whole is as if it were not there; the oldest goes where there is no room.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.contract import codec
from agent.contract.errors import DocumentInvalid, EdgeError, ModelUnsupported, error_from_plain
from agent.contract.onnx_places import external_places
from converters.calibration.source import DataKind, DataSource
from converters.convert import PACKAGES, Conversion
from converters.job import ConversionJob, Converted, Original, Stage
from converters.source import SourceFormat, Trust
from edge import durable
from edge.config import lock
from edge.conversion.digest import digest_of

LIMIT_BYTES = 2 * 10**9
ANSWERS = "conversion.json"
RUN = "run.npz"


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """A conversion on the disk.

    Attributes:
        original, converted, stages: as in `Conversion`.
        errors: plain errors by target key.
        files: SHA-256 by name.
    """

    original: Original
    converted: Mapping[str, Converted]
    stages: tuple[Stage, ...]
    errors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def key_of(job: ConversionJob) -> str | None:
    """What names a job's answers; None where it is never the same, since code of the user's own takes part."""
    data = [source for source in (job.calibration, job.evaluation) if source is not None]
    metric = job.contract.metric if job.contract is not None else None
    if (
        any(source.kind is DataKind.FUNCTION for source in data)
        or ":" in (metric or "")
        or job.trust != Trust()
    ):
        return None
    digest = hashlib.sha256(codec.encode(replace(job, folder="")))
    for told in (sys.version, platform.machine(), *_packages(), *_code(), *_given(job, data)):
        digest.update(f"\0{told}".encode())
    return digest.hexdigest()


def _packages() -> list[str]:
    return sorted(f"{one.metadata['Name']} {one.version}" for one in importlib.metadata.distributions())


def _code() -> Iterator[str]:
    """Our own packages, byte by byte: an environment that is worked in changes without a version."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*")):
            if path.suffix in (".py", ".toml"):
                yield f"{path.relative_to(package)} {digest_of(path).sha256}"


def _given(job: ConversionJob, data: list[DataSource]) -> Iterator[str]:
    model = Path(job.source)
    yield digest_of(model).sha256
    if job.source_format is SourceFormat.ONNX:
        for place in external_places(memoryview(model.read_bytes())):
            beside = model.parent / place
            yield digest_of(beside).sha256 if beside.is_file() else "absent"
    for source in data:
        yield digest_of(source.path).sha256


def take(folder: Path, key: str, job_folder: Path) -> tuple[Conversion, float] | None:
    """Put what was kept under a key into a job's folder; None where nothing whole is.

    Args:
        folder: of everything that is kept.
        key: of the job.
        job_folder: gets the artifacts and arrays.

    Returns:
        What came of the job, and when, in seconds since 1970.
    """
    place = folder / key
    try:
        answers = codec.decode(_Answers, (place / ANSWERS).read_bytes())
        made = (place / ANSWERS).stat().st_mtime
        needed = {RUN, *(one.file for one in answers.converted.values())}
        if not needed <= set(answers.files) or any(name != Path(name).name for name in answers.files):
            return None
        for name, sha256 in answers.files.items():
            shutil.copyfile(place / name, job_folder / name)
            if digest_of(job_folder / name).sha256 != sha256:
                return None
        os.utime(place)  # the one that was used last is the last to go
    except (OSError, DocumentInvalid):
        return None
    errors = {target: error_from_plain(plain) for target, plain in answers.errors.items()}
    known = {target: error for target, error in errors.items() if error is not None}
    if len(known) < len(errors):
        return None
    conversion = Conversion(
        original=answers.original,
        converted=dict(answers.converted),
        errors=known,
        stages=list(answers.stages),
    )
    return conversion, made


def keep(folder: Path, key: str, job_folder: Path, conversion: Conversion) -> None:
    """Keep what came of a job, where that would come of it again.

    Args:
        folder: of everything that is kept.
        key: of the job.
        job_folder: holds the artifacts and arrays.
        conversion: what came of it; nothing is kept of one with a crash, or larger than a quarter of `LIMIT_BYTES`.

    Raises:
        OSError: it could not be written.
        FleetFolderBusy: another process keeps something, and does not end.
    """
    lasts = all(isinstance(error, ModelUnsupported) for error in conversion.errors.values())
    if conversion.original is None or not conversion.converted or not lasts:
        return
    names = [RUN, *(one.file for one in conversion.converted.values())]
    names += [f"{name}.npz" for name in conversion.converted if (job_folder / f"{name}.npz").exists()]
    if sum((job_folder / name).stat().st_size for name in names) > LIMIT_BYTES // 4:
        return
    answers = _Answers(
        original=conversion.original,
        converted=conversion.converted,
        stages=tuple(conversion.stages),
        errors={target: _plain(error) for target, error in conversion.errors.items()},
        files={name: digest_of(job_folder / name).sha256 for name in names},
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the user's samples lie in it
    with tempfile.TemporaryDirectory(prefix=durable.PREFIX, dir=folder) as new:
        place = Path(new) / key
        place.mkdir()
        for name in names:
            shutil.copyfile(job_folder / name, place / name)
        (place / ANSWERS).write_bytes(codec.encode(answers))
        with lock(folder):
            shutil.rmtree(folder / key, ignore_errors=True)
            place.replace(folder / key)
            make_room(folder)


def told(made: float) -> str:
    """The sentence that says where an answer comes from."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(made))
    return f"the same was converted on {when}, and is taken from there (--no-cache makes it anew)"


def _plain(error: EdgeError) -> dict[str, Any]:
    return {name: value for name, value in error.to_plain().items() if name in ("code", "facts")}


def make_room(folder: Path) -> None:
    """Remove what was used longest ago, until the rest keeps within `LIMIT_BYTES`."""
    kept = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(durable.PREFIX)]
    total = 0
    for place in sorted(kept, key=lambda path: -path.stat().st_mtime):
        total += sum(path.stat().st_size for path in place.rglob("*"))
        if total > LIMIT_BYTES:
            shutil.rmtree(place, ignore_errors=True)
