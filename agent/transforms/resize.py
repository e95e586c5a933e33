"""Images to another size.

The rule: pixels are squares, so that centres lie at half numbers. `area` averages what a new pixel covers where the
image gets smaller and is `bilinear` where it gets larger; `bilinear` widens its filter with the shrinkage, so that no
pixel is skipped; `nearest` skips pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = frozenset({"area", "bilinear", "nearest"})


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
    down, across = _weights(image.shape[0], height, method), _weights(image.shape[1], width, method)
    shrunk = np.tensordot(down, image.astype(np.float32), axes=(1, 0))
    return np.ascontiguousarray(np.moveaxis(np.tensordot(across, shrunk, axes=(1, 1)), 0, 1))


def _nearest(found: int, wanted: int) -> NDArray[np.int64]:
    return np.minimum(((np.arange(wanted) + 0.5) * found / wanted).astype(np.int64), found - 1)


def _weights(found: int, wanted: int, method: str) -> NDArray[np.float32]:
    """float32 `[wanted, found]`: how much each old pixel counts in each new one; rows sum to 1."""
    ratio = found / wanted
    if method == "area" and ratio > 1.0:
        edges = np.arange(found)
        begin = np.arange(wanted)[:, np.newaxis] * ratio
        covered = np.minimum(edges + 1, begin + ratio) - np.maximum(edges, begin)
        weights = np.clip(covered, 0.0, None)
    else:
        centres = (np.arange(wanted)[:, np.newaxis] + 0.5) * ratio - 0.5
        reach = max(ratio, 1.0)
        if ratio < 1.0:
            centres = np.clip(centres, 0, found - 1)
        weights = np.clip(1.0 - np.abs(np.arange(found) - centres) / reach, 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
