"""A JPEG's or PNG's bytes to pixels: each kind that there is, and what is refused."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from agent.contract.errors import DecoderMissing, ImageTooLarge, ImageUnreadable
from agent.contract.manifest import Step
from agent.transforms import images
from agent.transforms.images import MAX_PIXELS, decode, grey_png
from agent.transforms.pipeline import prepare, wanted_side
from tests.transforms.photos import encoded, png, scene, turned

SCENE = Image.fromarray(scene())
GREY = SCENE.convert("L")
DEEP = Image.fromarray((np.asarray(GREY).astype(np.uint16) << 8) + 200)
ALPHA = SCENE.copy()
ALPHA.putalpha(7)

KINDS = {
    "png": (encoded(SCENE), SCENE),
    "png-grey": (encoded(GREY), GREY),
    "png-grey-16-bit": (encoded(DEEP), GREY),
    "png-1-bit": (encoded(GREY.convert("1")), GREY.convert("1").convert("L")),
    "png-palette": (encoded(SCENE.quantize(8)), SCENE),
    "png-palette-transparent": (encoded(SCENE.quantize(8), transparency=0), SCENE),
    "png-alpha": (encoded(ALPHA), SCENE),
    "png-grey-alpha": (encoded(ALPHA.convert("LA")), GREY),
    "png-animated": (encoded(SCENE, save_all=True, append_images=[ImageOps.invert(SCENE)]), SCENE),
    "jpeg": (encoded(SCENE, "JPEG", quality=95), SCENE),
    "jpeg-grey": (encoded(GREY, "JPEG", quality=95), GREY),
    "jpeg-progressive": (encoded(SCENE, "JPEG", quality=95, progressive=True), SCENE),
    "jpeg-cmyk": (encoded(SCENE.convert("CMYK"), "JPEG", quality=95), SCENE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_each_kind_becomes_one_channel_or_three(kind: str) -> None:
    data, told = KINDS[kind]

    picture = decode(data)

    wanted = np.asarray(told)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape == (48, 64, 1 if wanted.ndim == 2 else 3)
    assert (picture.width, picture.height) == (64, 48)
    off = np.abs(picture.pixels.squeeze().astype(int) - wanted)
    assert np.median(off) <= (3 if kind.startswith("jpeg") else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_is_upright_as_pillow_turns_it(kind: str, orientation: int) -> None:
    upright = ImageOps.exif_transpose(SCENE_WITH[orientation])

    picture = decode(
        encoded(SCENE, kind, exif=turned(orientation), **({"quality": 95} if kind == "JPEG" else {}))
    )

    assert (picture.width, picture.height) == upright.size
    assert np.median(np.abs(picture.pixels.astype(int) - np.asarray(upright))) <= 3


def _with(orientation: int) -> Image.Image:
    image = SCENE.copy()
    image.getexif()[0x0112] = orientation
    return image


SCENE_WITH = {orientation: _with(orientation) for orientation in range(1, 9)}


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"]
)
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    assert decode(encoded(SCENE, "JPEG", exif=exif)).pixels.shape == (48, 64, 3)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose head was changed to declare another size."""
    data = bytearray(encoded(SCENE, "JPEG", progressive=True))
    place = data.index(b"\xff\xc2") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


BOMBS = {
    "png": png(50_000, 50_000, zlib.compress(bytes(1 << 20))),
    "png-thin": png(1 << 30, 1, zlib.compress(b"")),
    "png-just-above": png(1, MAX_PIXELS + 1, b""),
    "jpeg": jpeg_of(65_000, 65_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_what_its_head_declares(kind: str) -> None:
    with pytest.raises(ImageTooLarge, match="pixels, more than"):
        decode(BOMBS[kind])


def test_a_file_is_refused_by_its_length_before_it_is_looked_into() -> None:
    with pytest.raises(ImageTooLarge, match="bytes, more than"):
        decode(images.JPEG + bytes(images.MAX_BYTES))


def test_text_in_a_png_that_unpacks_to_more_than_it_may_is_refused() -> None:
    text = b"a\0\0" + zlib.compress(bytes(1 << 26))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))

    with pytest.raises(ImageUnreadable):
        decode(png(4, 4, zlib.compress(bytes(20)), chunk))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8", encoded(SCENE, "BMP"), encoded(SCENE, "WEBP")])
def test_what_is_neither_jpeg_nor_png_is_refused(data: bytes) -> None:
    with pytest.raises(ImageUnreadable, match="neither"):
        decode(data)


WHOLE = {kind: KINDS[kind][0] for kind in ("png", "png-animated", "jpeg", "jpeg-progressive", "jpeg-cmyk")}


@pytest.mark.parametrize("kind", ["png", "jpeg", "jpeg-progressive"])
def test_a_picture_that_is_cut_off_is_refused(kind: str) -> None:
    data = WHOLE[kind]

    with pytest.raises(ImageUnreadable, match="damaged"):
        decode(data[: len(data) // 2])


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damage_ends_in_a_picture_or_in_an_error_of_ours(kind: str, draw: st.DataObject) -> None:
    data = bytearray(WHOLE[kind])
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))

    try:
        picture = decode(bytes(data[: draw.draw(st.integers(0, len(data)))]))
    except (ImageUnreadable, ImageTooLarge):
        return
    assert picture.pixels.ndim == 3


def test_a_large_jpeg_is_decoded_small_and_says_the_same() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8)
    data = encoded(Image.fromarray(noise).resize((1600, 1200)), "JPEG", quality=90)
    steps = (Step("resize", {"height": 96, "width": 96, "method": "area"}),)

    small, whole = decode(data, wanted=wanted_side(steps)), decode(data)

    assert small.pixels.shape[:2] == (300, 400)
    assert (small.width, small.height) == (1600, 1200)
    off = np.abs(prepare(steps, small).array - prepare(steps, whole).array)
    assert off.mean() < 1.5
    assert whole.pixels.shape[:2] == (1200, 1600)


def test_a_map_of_classes_is_read_as_it_was_written() -> None:
    classes = np.random.default_rng(0).integers(0, 256, (5, 9), np.uint8)

    assert (decode(grey_png(classes)).pixels[..., 0] == classes).all()


def test_a_runtime_without_pillow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(DecoderMissing, match="no Pillow"):
        decode(KINDS["png"][0])


def test_pillow_comes_with_the_first_picture_and_not_before() -> None:
    program = "import sys, agent.transforms.inputs, agent.transforms.answers;sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
