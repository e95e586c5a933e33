"""Images to another size.

The rule: pixels are squares, so that centres lie at half numbers. A few rows are mixed at a time: a photo costs its own
bytes and little more.

| method | does | the same as |
|---|---|---|
| `area` | averages what a new pixel covers; larger: `bilinear` | `BOX` of Pillow, `INTER_AREA` of OpenCV |
| `bilinear` | widens its filter as the image shrinks: skips no pixel | Pillow, torchvision |
| `bicubic` | likewise, with Keys' cubic of a = -1/2 | `BICUBIC` of Pillow |
| `bilinear-skipping` | mixes the two nearest each way, skips those between | `tf.image.resize`, Keras' data sets |
| `nearest` | takes one pixel | `tf.image.resize` with `nearest` |

`tf.image.resize` with `antialias=True` is `bilinear`; OpenCV's `INTER_LINEAR` is `bilinear-skipping`.
Pillow and torchvision round to whole numbers after it, which is not done here: up to half a grey value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = frozenset({"area", "bicubic", "bilinear", "bilinear-skipping", "nearest"})
ROWS = 4
"""New rows that are mixed at a time."""


def resize(image: NDArray[Any], height: int, width: int, method: str) -> NDArray[Any]:
    """Resize an image.

    Args:
        image: `[H, W, C]`.
        height: wanted, 1 or more.
        width: wanted, 1 or more.
        method: one of `METHODS`.

    Returns:
        `[height, width, C]`; float32, or the image's own dtype where nothing is mixed.
    """
    if image.shape[:2] == (height, width):
        return image
    if method == "nearest":
        rows, columns = (
            _nearest(found, wanted) for found, wanted in zip(image.shape, (height, width), strict=False)
        )
        return image[rows][:, columns]
    shrunk = np.moveaxis(_mixed(image, height, method), 1, 0)
    return np.ascontiguousarray(np.moveaxis(_mixed(shrunk, width, method), 1, 0))


def _nearest(found: int, wanted: int) -> NDArray[np.int64]:
    return np.minimum(((np.arange(wanted) + 0.5) * found / wanted).astype(np.int64), found - 1)


def _mixed(image: NDArray[Any], wanted: int, method: str) -> NDArray[np.float32]:
    """The image with `wanted` rows, float32."""
    mixed = np.empty((wanted, *image.shape[1:]), dtype=np.float32)
    for begin in range(0, wanted, ROWS):
        end = min(begin + ROWS, wanted)
        first, weights = _weights(image.shape[0], wanted, method, begin, end)
        part = image[first : first + weights.shape[1]].astype(np.float32)
        mixed[begin:end] = np.tensordot(weights, part, axes=(1, 0))
    return mixed


def _weights(found: int, wanted: int, method: str, begin: int, end: int) -> tuple[int, NDArray[np.float32]]:
    """How much old pixels count in the new ones `begin` to `end`.

    Returns:
        The first old pixel that counts, and float32 `[new, old]` from there; rows sum to 1.
    """
    ratio = found / wanted
    new = np.arange(begin, end)[:, np.newaxis]
    shrinkage = 1.0 if method == "bilinear-skipping" else max(ratio, 1.0)
    reach = shrinkage * (2.0 if method == "bicubic" else 1.0)
    first = max(int((begin + 0.5) * ratio - 0.5 - reach), 0)
    old = np.arange(first, min(int((end - 0.5) * ratio - 0.5 + reach) + 2, found))
    if method == "area" and ratio > 1.0:
        covered = np.minimum(old + 1, (new + 1) * ratio) - np.maximum(old, new * ratio)
        weights = np.clip(covered, 0.0, None)
    elif method == "bicubic":
        weights = _cubic(np.abs(old - ((new + 0.5) * ratio - 0.5)) / shrinkage)
    else:
        centres = np.clip((new + 0.5) * ratio - 0.5, 0, found - 1)
        weights = np.clip(1.0 - np.abs(old - centres) / reach, 0.0, None)
    return first, np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _cubic(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """The convolution kernel of Keys 1981 (a = -1/2), at distances of 0 and more."""
    near = (1.5 * away - 2.5) * away**2 + 1.0
    far = ((-0.5 * away + 2.5) * away - 4.0) * away + 2.0
    return np.where(away < 1.0, near, np.where(away < 2.0, far, 0.0))
