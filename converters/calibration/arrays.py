"""`.npz` and `.npy`: samples as the model takes them.

The rule: one array a model's input, by its name (`x` where there is only one), and labels as `y`; pickles are never
read, and nothing is unpacked that this machine could not hold.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec
from converters.calibration.casting import Array
from converters.calibration.data import Data, check_arrays, checked_labels
from converters.calibration.memory import available_bytes
from converters.calibration.source import LabelKind

LABELS = "y"
ALONE = "x"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What a file holds, before it is known for which model.

    Attributes:
        path, sha256: of the file.
        arrays: samples `[N, ...]` by name.
        y: labels, or None.
    """

    path: Path
    sha256: str
    arrays: dict[str, Array]
    y: Array | None

    def bound(self, specs: Sequence[TensorSpec], *, purpose: str) -> Data:
        """The arrays in the order of a model's inputs.

        Raises:
            DataUnreadable: an input has no array.
            DataMismatch: an array is for no input.
        """
        names = [self._name(spec, alone=len(specs) == 1) for spec in specs]
        if left := [name for name in self.arrays if name not in names]:
            inputs = ", ".join(f"`{plain_name(spec)}`" for spec in specs)
            reason = f"`{left[0]}` in it is no input of the model"
            raise DataMismatch(
                purpose=purpose, path=self.path, reason=reason, expected=f"one array each for {inputs}"
            )
        inputs_in_order = tuple(self.arrays[name] for name in names)
        return Data(path=self.path, sha256=self.sha256, inputs=inputs_in_order, y=self.y)

    def _name(self, spec: TensorSpec, *, alone: bool) -> str:
        names: list[str] = [*([ALONE] if alone else []), spec.name, plain_name(spec)]
        for name in names:
            if name in self.arrays:
                return name
        wanted, held = ALONE if alone else plain_name(spec), ", ".join(self.arrays) or "nothing"
        raise DataUnreadable(path=self.path, reason=f"it holds {held}, but no array `{wanted}`")


def plain_name(spec: TensorSpec) -> str:
    """An input's name without what TensorFlow puts around it: `serving_default_a:0` is `a`."""
    name: str = spec.name
    return name.removeprefix("serving_default_").removesuffix(":0")


def load(path: Path, *, purpose: str, label_kind: LabelKind = LabelKind.CLASSES) -> Archive:
    """Read a file.

    Args:
        path: `.npz` with one array an input and, where there are labels, `y`; or `.npy` with the inputs alone.
        purpose: `calibration` or `evaluation`, for the sentence of an error.
        label_kind: what `y` holds.

    Raises:
        DataUnreadable: it is no such file.
        DataMismatch: it has no samples, values that are not finite, or labels that are none.
    """
    arrays = _arrays(path)
    y = arrays.pop(LABELS, None)
    if not arrays:
        raise DataUnreadable(path=path, reason=f"it holds {'`y` alone' if y is not None else 'nothing'}")
    check_arrays(arrays, path=path, purpose=purpose)
    samples = len(next(iter(arrays.values())))
    if y is not None:
        y = checked_labels(y, samples, path=path, purpose=purpose, label_kind=label_kind)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Archive(path=path, sha256=digest, arrays=arrays, y=y)


def _arrays(path: Path) -> dict[str, Array]:
    if path.exists() and not path.is_file():
        raise DataUnreadable(path=path, reason="it is no plain file")
    try:
        _check_size(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {ALONE: loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise DataUnreadable(path=path, reason="there is no such file") from error
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0]
        if "pickle" in reason:  # numpy takes every file that it does not know for one
            pickled = "Object arrays" in reason or path.read_bytes()[:1] == b"\x80"
            code = "it holds Python objects (a pickle), which run code when they are read"
            reason = code if pickled else "it is neither .npy nor .npz"
        raise DataUnreadable(path=path, reason=reason) from error


def _check_size(path: Path) -> None:
    """Raise ValueError where the arrays would not fit into this machine, before any of them is unpacked."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    free = available_bytes()
    if size > free:
        raise ValueError(f"its arrays take {size:,} bytes, this machine has {free:,} free")
