"""What a client sends, a picture, a sound or an array, to one sample of a model's input.

The rule: the bytes say what they are; the sample has the shape and type that the model takes, or there is none. An
array (`.npy`) is a sample as the model takes it: no preprocessing is carried out on it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ImageNotTaken, ImageUnreadable, RequestInvalid
from agent.contract.manifest import BundleManifest, Step, TensorSpec
from agent.transforms.audio import read_wav
from agent.transforms.frame import Frame
from agent.transforms.images import decode
from agent.transforms.pipeline import apply, prepare, takes_sound, wanted_side
from agent.transforms.quantization import is_quantized

NPY = b"\x93NUMPY"


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        array: `[1, ...]`, C-contiguous; real numbers, or what the tensor stores where those are no quantized ones.
        frame: where it lies in the picture; None for an array or a sound.
    """

    array: NDArray[Any]
    frame: Frame | None


def read_sample(data: bytes, manifest: BundleManifest) -> Sample:
    """The sample in the bytes of a JPEG, PNG, WAV or `.npy` file.

    Args:
        data: all of the file.
        manifest: of the model's bundle; its steps are checked.

    Raises:
        ImageNotTaken: the model takes several inputs, or nothing says how a picture becomes its input.
        ImageUnreadable: the array is none. For the others see `prepared`.
        RequestInvalid: the array has not the shape of the input.
    """
    if len(manifest.inputs) != 1:
        raise ImageNotTaken(model=manifest.model, reason=f"it has {len(manifest.inputs)} inputs")
    spec = manifest.inputs[0]
    if data.startswith(NPY):
        return Sample(fitting(_read_array(data), spec), None)
    if not manifest.preprocessing:
        raise ImageNotTaken(
            model=manifest.model, reason="its release has no steps from an image to its input"
        )
    return prepared(data, manifest.preprocessing, spec)


def prepared(data: bytes, steps: Sequence[Step], spec: TensorSpec) -> Sample:
    """What preprocessing makes of a JPEG or PNG file, or of a WAV file where its steps begin with `waveform`.

    Args:
        data: all of the file.
        steps: checked; at least one.
        spec: the model's input.

    Raises:
        ImageUnreadable, ImageTooLarge, DecoderMissing: see `agent.transforms.images.decode`.
        SoundUnreadable, SoundRateOther: see `agent.transforms.audio.read_wav`.
        RequestInvalid: what comes of it has not the shape of the input.
    """
    if takes_sound(steps):
        told = steps[0].parameters
        sound = read_wav(data, rate=told["rate"], length=told["length"])
        return Sample(fitting(apply(steps, sound), spec), None)
    picture = decode(data, wanted=wanted_side(steps))
    made = prepare(steps, picture)
    return Sample(fitting(made.array, spec), made.frame)


def fitting(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """One sample in the shape and type of an input: `[1, ...]`, C-contiguous.

    Raises:
        RequestInvalid: it has another shape.
    """
    if array.ndim == len(spec.shape) - 1:
        array = array[np.newaxis]
    told = (1, *spec.shape[1:])
    fits = array.ndim == len(told) and all(
        want in (-1, found) for want, found in zip(told, array.shape, strict=True)
    )
    if not fits:
        raise RequestInvalid(
            reason=f"the sample has the shape {list(array.shape)}, `{spec.name}` takes {list(told)}"
        )
    wanted = np.dtype("float32" if is_quantized(spec) else spec.dtype)
    if wanted.kind in "iu" and array.dtype.kind == "f":
        limits = np.iinfo(wanted)
        array = np.clip(np.rint(np.nan_to_num(array)), limits.min, limits.max)
    return np.ascontiguousarray(array, dtype=wanted)


def _read_array(data: bytes) -> NDArray[Any]:
    """The array of a `.npy` file; what its head declares is compared with what is there before memory is taken."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, by_columns, dtype = read(stream)
        body = data[stream.tell() :]
        if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != len(body):
            raise ImageUnreadable(reason="it does not hold one array of real numbers")
        flat = np.frombuffer(body, dtype)
        return flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)
    except (ValueError, OverflowError, SyntaxError) as error:
        raise ImageUnreadable(reason="it is no .npy file that can be read") from error
