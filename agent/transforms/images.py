"""A JPEG's or PNG's bytes to pixels: the one place where host and board read pictures.

The rule: the bytes say what they are, not a name or a header; what they declare is bounded before anything is decoded;
every picture becomes uint8 `[H, W, 1 or 3]`, upright, whatever it was stored as:

| stored as | becomes |
|---|---|
| grey, 1 or 8 bits | one channel |
| grey, 16 bits | one channel of the upper 8 bits; colours of 16 bits likewise |
| a palette | three channels |
| CMYK, YCCK | three channels |
| with alpha | without it: what is transparent has the colour that is stored there |
| progressive, interlaced | as any other |
| an animation | its first picture |
| turned by EXIF | upright |
| with damaged EXIF | as stored |
| cut off, damaged | refused |

A large JPEG is decoded at a half, a quarter or an eighth of its size where that leaves at least `MARGIN` times what is
wanted on both sides. Pillow is imported with the first picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DecoderMissing, ImageTooLarge, ImageUnreadable

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 1 << 24
"""A camera of 16 megapixels; 100 MB while it is decoded, unless it is a JPEG."""
MAX_SIDE = 1 << 15
MARGIN = 2
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
TURNED = frozenset({5, 6, 7, 8})
"""Orientations, as EXIF numbers them, whose rows are the upright picture's columns."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: uint8 `[H, W, 1 or 3]`, upright.
        width, height: as stored, upright; `pixels` may have fewer.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def is_picture(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG or PNG."""
    return data.startswith((JPEG, PNG))


def decode(data: bytes, *, wanted: int = 0) -> Picture:
    """Decode a picture.

    Args:
        data: all of the file.
        wanted: pixels a side that are needed; 0 for all that there are.

    Raises:
        ImageUnreadable: it is neither JPEG nor PNG, or damaged.
        ImageTooLarge: it declares more than is decoded here.
        DecoderMissing: this runtime has no Pillow.
    """
    if not is_picture(data):
        raise ImageUnreadable(reason="it is neither a JPEG nor a PNG")
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(found=f"{len(data)} bytes", limit=f"{MAX_BYTES} bytes")
    try:
        from PIL import JpegImagePlugin, PngImagePlugin
    except ImportError as error:
        raise DecoderMissing from error
    try:
        kind = JpegImagePlugin.JpegImageFile if data.startswith(JPEG) else PngImagePlugin.PngImageFile
        with kind(io.BytesIO(data)) as image:
            width, height = _bounded(image)
            if wanted:
                image.draft(None, (MARGIN * wanted, MARGIN * wanted))
            pixels, orientation = _pixels(image), _orientation(image)
    except (ImageTooLarge, MemoryError):
        raise
    except Exception as error:
        # Damaged files end in errors of every kind, from struct.error to AttributeError
        raise ImageUnreadable(reason=f"it is damaged or of a rare kind ({type(error).__name__})") from error
    size = (height, width) if orientation in TURNED else (width, height)
    return Picture(_upright(pixels, orientation), *size)


def _bounded(image: ImageFile) -> tuple[int, int]:
    """Width and height that the head declares; nothing is decoded yet."""
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"{MAX_PIXELS} pixels and {MAX_SIDE} a side"
        raise ImageTooLarge(found=f"{width} x {height} pixels", limit=limit)
    return width, height


def _pixels(image: ImageFile) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        return np.asarray(pixels >> 8, dtype=np.uint8)[..., np.newaxis]
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image if image.mode == "L" else image.convert("L"))[..., np.newaxis]
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image: ImageFile) -> int:
    try:
        found = image.getexif().get(_ORIENTATION)
    except Exception:  # as above: of every kind
        return 1
    return found if isinstance(found, int) else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turned and mirrored as EXIF numbers it: 1 is as stored."""
    if orientation in TURNED:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 `[H, W]` as a PNG.

    Raises:
        DecoderMissing: this runtime has no Pillow.
    """
    try:
        from PIL import Image, PngImagePlugin  # noqa: F401 - Pillow knows PNG by that module
    except ImportError as error:
        raise DecoderMissing from error
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, "PNG")
    return written.getvalue()
