"""Small pictures of every kind, made by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agent.transforms.images import PNG

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


def png(width: int, height: int, body: bytes, extra: bytes = b"") -> bytes:
    """A PNG that declares a size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return PNG + chunks[0] + extra + b"".join(chunks[1:])
