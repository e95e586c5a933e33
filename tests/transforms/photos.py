"""Small pictures of every kind, made by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
"""Red, green, blue and white: no turn or mirror image of it is itself."""


def scene(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """`CORNERS` in large; soft enough for JPEG."""
    tall, wide = np.arange(height) * 2 // height, np.arange(width) * 2 // width
    return CORNERS[tall][:, wide]


def encoded(image: Image.Image | NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file."""
    written = io.BytesIO()
    drawn = image if isinstance(image, Image.Image) else Image.fromarray(image)
    drawn.save(written, kind, **options)
    return written.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
