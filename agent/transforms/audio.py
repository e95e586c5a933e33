"""A WAV file to features: framing, spectrum, mel bands, their logarithm, and the cosine transform (MFCC).

The rule: every number that shapes the result is a parameter of a step; sums are made in float64 and end as float32, so
that host and board agree. A sound begins with the step `waveform`.

| step | does, and where the formula is from |
|---|---|
| `waveform` | `[length]` in -1 to 1: the first `length` samples at `rate` a second, zeros behind a shorter sound |
| `spectrogram` | `[frames, fft/2 + 1]`: every `hop` samples a frame of `window`, without padding: 1 + (length - window) // hop of them; times the periodic Hann window 0.5 - 0.5 cos(2 pi n / window) (Harris 1978, "DFT-even"), zeros up to `fft`, then the absolute value of its Fourier transform to the power of `power`, 1 or 2 |
| `mel` | `[frames, bins]`: the spectrum times triangles whose corners lie evenly from `low` to `high` (Hz) on the scale mel(f) = 2595 log10(1 + f / 700) (O'Shaughnessy 1987; HTK Book, chapter 5); they are straight in mel, their tops are 1 |
| `log` | ln(value + `offset`) |
| `dct` | the first `coefficients` of the DCT-II along the last axis (Ahmed, Natarajan, Rao 1974): `norm` `none` is 2 sum x[n] cos(pi k (2n + 1) / 2N), `ortho` is that times sqrt(1/4N) for k = 0 and sqrt(1/2N) for the others |

Of other libraries: `tf.signal.stft` and `linear_to_mel_weight_matrix` are `spectrogram` with `power = 1` and `mel`;
`tf.signal.mfccs_from_log_mel_spectrograms` is `dct` with `norm = "none"`, then `scale` by 1 / sqrt(2 bins).
`librosa.stft` pads by default, which is not done here.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DocumentInvalid, RequestInvalid
from agent.contract.errors.sounds import SoundRateOther, SoundUnreadable
from agent.contract.manifest import Step

Array = NDArray[Any]
Parameters = Mapping[str, Any]

MAX_BYTES = 32 * 1024 * 1024
MOST_SAMPLES = 1 << 24
"""Of one sound: 17 minutes at 16 kHz."""
MOST_CHANNELS = 64
MOST_FFT = 1 << 16
_CENTRES = {1: 128, 2: 0, 3: 0, 4: 0}
"""Sample width in bytes to the stored value of silence: 8 bits are unsigned."""


def read_wav(data: bytes, *, rate: int, length: int) -> NDArray[np.float32]:
    """The beginning of a WAV file, its channels averaged.

    Args:
        data: all of the file.
        rate: samples a second that it must have.
        length: samples that are read at most.

    Returns:
        float32 `[length or fewer]`, -1 to 1.

    Raises:
        SoundUnreadable: it is no WAV file of whole numbers, or damaged.
        SoundRateOther: so.
    """
    if not is_wav(data):
        raise SoundUnreadable(reason="it is no WAV file")
    if len(data) > MAX_BYTES:
        raise SoundUnreadable(reason=f"it has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, found = file.getsampwidth(), file.getnchannels(), file.getframerate()
            if found != rate:
                raise SoundRateOther(found=found, wanted=rate)
            stored = file.readframes(length) if channels <= MOST_CHANNELS else b""
    except (wave.Error, EOFError, OverflowError, ValueError) as error:
        raise SoundUnreadable(reason=str(error) or "it breaks off") from error
    if width not in _CENTRES or len(stored) < width * channels:
        raise SoundUnreadable(reason=f"{channels} channels of {8 * width} bits hold no sample")
    values = _integers(stored[: len(stored) - len(stored) % (width * channels)], width)
    mixed = values.reshape(-1, channels).mean(axis=1, dtype=np.float64)
    return np.asarray(mixed / float(1 << (8 * width - 1)), dtype=np.float32)


def is_wav(data: bytes) -> bool:
    """Whether the bytes begin as a WAV file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def _integers(stored: bytes, width: int) -> Array:
    """Little-endian samples, silence at 0."""
    if width == 1:
        return np.frombuffer(stored, np.uint8).astype(np.int16) - _CENTRES[1]
    if width == 3:  # the upper three bytes of four, then back
        wide = np.zeros((len(stored) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(stored, np.uint8).reshape(-1, 3)
        return wide.view("<i4").ravel() >> 8
    return np.frombuffer(stored, f"<i{width}")


def waveform(array: Array, parameters: Parameters) -> NDArray[np.float32]:
    """`[length]`: cut off, or with zeros behind."""
    _check_axes(array, 1, "waveform")
    fitted = np.zeros(parameters["length"], np.float32)
    part = array[: len(fitted)]
    fitted[: len(part)] = part
    return fitted


def spectrogram(array: Array, parameters: Parameters) -> NDArray[np.float32]:
    """`[samples]` to `[frames, fft/2 + 1]`."""
    _check_axes(array, 1, "spectrogram")
    window, hop = parameters["window"], parameters["hop"]
    if len(array) < window:
        raise RequestInvalid(
            reason=f"`spectrogram` has a window of {window} samples, the sound has {len(array)}"
        )
    frames = np.lib.stride_tricks.sliding_window_view(array, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    magnitude = np.abs(np.fft.rfft(frames.astype(np.float64) * hann, parameters["fft"], axis=1))
    return np.asarray(magnitude ** parameters["power"], dtype=np.float32)


def mel(array: Array, parameters: Parameters) -> NDArray[np.float32]:
    """`[frames, spectrum]` to `[frames, bins]`."""
    _check_axes(array, 2, "mel")
    triangles = _triangles(
        array.shape[1], parameters["rate"], parameters["bins"], parameters["low"], parameters["high"]
    )
    return np.asarray(array.astype(np.float64) @ triangles, dtype=np.float32)


@lru_cache(maxsize=8)
def _triangles(spectrum: int, rate: int, bins: int, low: float, high: float) -> NDArray[np.float64]:
    """`[spectrum, bins]`."""
    places = _mel(np.linspace(0.0, rate / 2.0, spectrum))[:, np.newaxis]
    corners = np.linspace(_mel(low), _mel(high), bins + 2)
    left, top, right = corners[:-2], corners[1:-1], corners[2:]
    return np.asarray(
        np.clip(np.minimum((places - left) / (top - left), (right - places) / (right - top)), 0, None)
    )


def _mel(hertz: Any) -> Any:
    return 2595.0 * np.log10(1.0 + np.asarray(hertz, np.float64) / 700.0)


def log(array: Array, parameters: Parameters) -> NDArray[np.float32]:
    """ln(value + offset)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(array.astype(np.float64) + parameters["offset"]), dtype=np.float32)


def dct(array: Array, parameters: Parameters) -> NDArray[np.float32]:
    """`[..., N]` to `[..., coefficients]`."""
    count = array.shape[-1] if array.ndim else 0
    if not 1 <= parameters["coefficients"] <= count:
        raise RequestInvalid(reason=f"`dct` has {parameters['coefficients']} coefficients of {count} values")
    k = np.arange(parameters["coefficients"])
    basis = 2.0 * np.cos(np.pi / (2 * count) * np.outer(2 * np.arange(count) + 1, k))
    if parameters["norm"] == "ortho":
        basis *= np.where(k == 0, np.sqrt(1 / (4 * count)), np.sqrt(1 / (2 * count)))
    return np.asarray(array.astype(np.float64) @ basis, dtype=np.float32)


def check(step: Step) -> None:
    """Refuse numbers that no sound can have; types are checked already.

    Raises:
        DocumentInvalid: so.
    """
    told, reason = step.parameters, None
    if step.op == "waveform" and told["length"] > MOST_SAMPLES:
        reason = f"`length` must be {MOST_SAMPLES} or less"
    elif step.op == "spectrogram" and not told["window"] <= told["fft"] <= MOST_FFT:
        reason = f"`fft` must be `window` or more, and {MOST_FFT} at most"
    elif step.op == "spectrogram" and told["power"] not in (1, 2):
        reason = "`power` must be 1 or 2"
    elif step.op == "mel" and not 0 <= told["low"] < told["high"] <= told["rate"] / 2:
        reason = "`low` must be below `high`, and that half of `rate` at most"
    if reason is not None:
        raise DocumentInvalid(document=f"step `{step.op}`", reason=reason)


def _check_axes(array: Array, axes: int, op: str) -> None:
    if array.ndim != axes:
        raise RequestInvalid(reason=f"`{op}` takes {axes} axes, found the shape {list(array.shape)}")


_NUMBER = (int, float)
OPERATIONS: dict[str, Callable[[Array, Parameters], Array]] = {
    "waveform": waveform,
    "spectrogram": spectrogram,
    "mel": mel,
    "log": log,
    "dct": dct,
}
PARAMETERS: dict[str, dict[str, tuple[type, ...]]] = {
    "waveform": {"rate": (int,), "length": (int,)},
    "spectrogram": {"window": (int,), "hop": (int,), "fft": (int,), "power": (int,)},
    "mel": {"rate": (int,), "bins": (int,), "low": _NUMBER, "high": _NUMBER},
    "log": {"offset": _NUMBER},
    "dct": {"coefficients": (int,), "norm": (str,)},
}
CHOICES: dict[str, dict[str, frozenset[str]]] = {"dct": {"norm": frozenset({"none", "ortho"})}}
SIZES = ("rate", "length", "window", "hop", "fft", "bins", "coefficients")
"""Parameters that are 1 or more."""
