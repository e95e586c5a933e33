"""Arrays of the user's own, checked against the model before they are used.

The rule: shape and dtype must be the model's; a dtype is changed only where every value is kept (uint8 to float32);
a value that is not finite, a label that is no class, or an empty file is refused. Nothing is made up, resized or
scaled here.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataMismatch, DataUnreadable
from agent.contract.manifest import TensorSpec

CALIBRATION = "calibration"
EVALUATION = "evaluation"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Arrays of one file.

    Attributes:
        path: the file.
        sha256: of its bytes.
        x: inputs `[N, ...]` as stored.
        y: class indices int64 `[N]`, or None where the file has none.
    """

    path: Path
    sha256: str
    x: NDArray[Any]
    y: NDArray[np.int64] | None = None

    @property
    def samples(self) -> int:
        """N."""
        return len(self.x)

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value of the inputs."""
        return float(self.x.min()), float(self.x.max())


def load(path: Path, *, purpose: str) -> Data:
    """Read a data file.

    Args:
        path: `.npz` with `x` and, where there are labels, `y`; or `.npy` with the inputs alone.
        purpose: `calibration` or `evaluation`, for the sentence of an error.

    Raises:
        DataUnreadable: it is no such file.
        DataMismatch: it has no samples, values that are not finite, or labels that are none.
    """
    arrays = _arrays(path)
    if "x" not in arrays:
        raise DataUnreadable(
            path=path, reason=f"it holds {', '.join(map(str, arrays)) or 'nothing'}, but no array `x`"
        )
    x, y = arrays["x"], arrays.get("y")
    expected = "numbers `x` of the shape [N, ...], and labels `y` of the shape [N]"
    if x.ndim < 2 or not len(x) or x.dtype.kind not in "biuf":
        reason = f"`x` is {x.dtype} of the shape {list(x.shape)}"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected=expected)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        first = int(np.argmin(np.isfinite(x.reshape(len(x), -1)).all(axis=1)))
        reason = f"sample {first} of `x` holds NaN or infinity"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="finite numbers")
    if y is not None and (y.shape != (len(x),) or y.dtype.kind not in "iu"):
        reason = f"`y` is {y.dtype} of the shape {list(y.shape)} for {len(x)} samples"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="class indices, integers [N]")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Data(path=path, sha256=digest, x=x, y=None if y is None else y.astype(np.int64))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if path.exists() and not path.is_file():
        raise DataUnreadable(path=path, reason="it is no plain file")
    try:
        _check_size(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in ("x", "y") if name in loaded.files} or {
                name: np.empty(0) for name in loaded.files
            }
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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise ValueError(f"its arrays take {size:,} bytes, this machine has {memory:,}")


def check_inputs(data: Data, spec: TensorSpec, *, inputs: int, purpose: str) -> None:
    """Refuse data that is not of the model's input.

    Args:
        data: what was read.
        spec: the model's first input.
        inputs: how many inputs the model has.
        purpose: for the sentence of an error.

    Raises:
        DataMismatch: shape or dtype is another.
    """
    axes = ", ".join("any" if axis < 0 else str(axis) for axis in spec.shape[1:])
    expected = f"{_real_dtype(spec)} of the shape [N{', ' if axes else ''}{axes}]"
    if inputs != 1:
        reason = f"the model has {inputs} inputs, the file holds one"
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=f"{inputs} inputs")
    found = data.x.shape[1:]
    fits = len(found) == len(spec.shape) - 1 and all(
        wanted in (-1, axis) for wanted, axis in zip(spec.shape[1:], found, strict=True)
    )
    if not fits:
        reason = f"`x` has the shape {['N', *found]}".replace("'", "")
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=expected)
    if not np.can_cast(data.x.dtype, _real_dtype(spec), "safe") and data.x.dtype != np.dtype(spec.dtype):
        reason = f"`x` is {data.x.dtype}, which {_real_dtype(spec)} can't hold without loss"
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=expected)


def check_labels(data: Data, classes: int | None, *, purpose: str) -> None:
    """Refuse labels that are no classes of the model.

    Args:
        data: what was read.
        classes: scores in the model's first output; None when it is not one score a class.
        purpose: for the sentence of an error.

    Raises:
        DataMismatch: a label is out of range, or the model is no classifier.
    """
    if data.y is None:
        return
    if classes is None or classes < 2:
        reason = "it holds labels, and the model's first output is not one score a class"
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected="inputs without labels")
    low, high = int(data.y.min()), int(data.y.max())
    if low < 0 or high >= classes:
        reason = f"its labels go from {low} to {high}"
        expected = f"labels of 0 to {classes - 1}"
        raise DataMismatch(purpose=purpose, path=data.path, reason=reason, expected=expected)


def evenly(samples: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` indices, or all of them, spread evenly over `samples`."""
    count = min(samples, wanted)
    return np.asarray(np.arange(count, dtype=np.int64) * samples // max(count, 1))


def _real_dtype(spec: TensorSpec) -> str:
    """What data for the tensor must be: real numbers where its integers stand for such."""
    return "float32" if spec.scale is not None else spec.dtype
