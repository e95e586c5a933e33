"""Pictures and sounds through preprocessing into one array of a model's input.

The rule: a file is read, decoded and prepared as the agent does it with what it is sent
(`agent.transforms.inputs.prepared`), one after the other, straight into the place that it has in the array. Files that
can't be read are all named; one of them refuses the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.contract.errors import DataMismatch, DataUnreadable, ImageError, RequestInvalid
from agent.contract.errors.sounds import SoundError
from agent.contract.manifest import Step, TensorSpec
from agent.transforms.frame import Frame
from agent.transforms.images import MAX_BYTES
from agent.transforms.inputs import prepared
from converters.calibration.casting import Array
from converters.calibration.classes import SHOWN
from converters.calibration.data import Data, check_arrays, described
from converters.calibration.folders import Folder
from converters.calibration.memory import check_fits


def read_files(folder: Folder, steps: Sequence[Step], specs: Sequence[TensorSpec], *, purpose: str) -> Data:
    """All files of a folder as a model's input.

    Args:
        folder: which files.
        steps: preprocessing, checked.
        specs: the model's inputs.
        purpose: `calibration` or `evaluation`, for the sentence of an error.

    Raises:
        DataUnreadable: files that can't be read, or more than this machine can hold.
        DataMismatch: the model has several inputs, or preprocessing does not lead to its input.
    """
    if len(specs) != 1:
        reason = f"the model has {len(specs)} inputs, a folder holds one"
        raise DataMismatch(
            purpose=purpose, path=folder.path, reason=reason, expected=".npz with an array for each input"
        )
    digest = hashlib.sha256()
    if folder.table is not None:
        _enter(digest, folder.table, (folder.path / folder.table).read_bytes())
    array: Array | None = None
    refused: list[str] = []
    frames: list[Frame] = []
    for place, name in enumerate(folder.files):
        try:
            data = _read(folder.path / name)
            _enter(digest, name, data)
            made = prepared(data, steps, specs[0])
        except RequestInvalid as error:
            raise DataMismatch(
                purpose=purpose, path=folder.path, reason=f"`{name}`: {error}", expected=described(specs[0])
            ) from error
        except (ImageError, SoundError, OSError) as error:
            refused.append(f"`{name}` ({error.strerror if isinstance(error, OSError) else error})")
            continue
        sample = made.array
        if array is None:
            array = _room(folder, sample)
        if sample.shape[1:] != array.shape[1:]:
            reason = f"`{name}` becomes {list(sample.shape[1:])}, others {list(array.shape[1:])}"
            raise DataMismatch(purpose=purpose, path=folder.path, reason=reason, expected="one shape for all")
        array[place] = sample[0]
        frames += [made.frame] if made.frame is not None else []
    if refused or array is None:
        raise DataUnreadable(path=folder.path, reason=_told(refused, len(folder.files)))
    check_arrays({"x": array}, path=folder.path, purpose=purpose)
    found = Data(path=folder.path, sha256=digest.hexdigest(), inputs=(array,))
    if folder.boxes is not None:
        if not frames:
            raise DataMismatch(
                purpose=purpose,
                path=folder.path,
                reason="its files are sounds",
                expected="pictures for boxes",
            )
        return replace(found, y=folder.boxes.moved(folder.files, frames))
    if folder.classes is not None:
        return replace(found, y=folder.classes.y, classes=folder.classes.names)
    return found


def _read(path: Path) -> bytes:
    """A file, or enough of it to see that it is too long."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _enter(digest: hashlib._Hash, name: str, data: bytes) -> None:
    """A file's name and content: names are sorted, so that the file system has no say."""
    digest.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\n".encode())


def _room(folder: Folder, sample: Array) -> Array:
    """The array for all files, of the first one's shape."""
    count = len(folder.files)
    check_fits(folder.path, count * sample.nbytes, f"its {count:,} files, {list(sample.shape[1:])} each,")
    return np.empty((count, *sample.shape[1:]), sample.dtype)


def _told(refused: Sequence[str], count: int) -> str:
    more = f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
    return f"{len(refused)} of {count} files can't be read: {', '.join(refused[:SHOWN])}{more}"
