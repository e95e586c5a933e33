"""Images to another size.

The rule: pixels are squares, so that centres lie at half numbers. `area` averages what a new pixel covers where the
image gets smaller and is `bilinear` where it gets larger; `bilinear` widens its filter with the shrinkage, so that no
pixel is skipped; `nearest` skips pixels. A few rows are mixed at a time: a photo costs its own bytes and little more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = frozenset({"area", "bilinear", "nearest"})
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
    reach = max(ratio, 1.0)
    first = max(int((begin + 0.5) * ratio - 0.5 - reach), 0)
    old = np.arange(first, min(int((end - 0.5) * ratio - 0.5 + reach) + 2, found))
    if method == "area" and ratio > 1.0:
        covered = np.minimum(old + 1, (new + 1) * ratio) - np.maximum(old, new * ratio)
        weights = np.clip(covered, 0.0, None)
    else:
        centres = (new + 0.5) * ratio - 0.5
        if ratio < 1.0:
            centres = np.clip(centres, 0, found - 1)
        weights = np.clip(1.0 - np.abs(old - centres) / reach, 0.0, None)
    return first, np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
