"""WAV files, made."""

from __future__ import annotations

import io
import wave

import numpy as np

RATE = 16_000


def tone(hertz: float, *, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """float64 `[samples]`, half as loud as can be."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def wav(samples: np.ndarray, *, width: int = 2, rate: int = RATE) -> bytes:
    """A file of `[samples]` or `[samples, channels]` in -1 to 1, with `width` bytes a number."""
    columns = samples.reshape(len(samples), -1)
    whole = np.rint(columns * (2 ** (8 * width - 1) - 1)).astype("<i8")
    stored = (whole + 128).astype(np.uint8) if width == 1 else whole.view(np.uint8).reshape(*columns.shape, 8)
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(columns.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(stored.tobytes() if width == 1 else stored[..., :width].tobytes())
    return written.getvalue()
