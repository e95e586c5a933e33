"""Steps before and after the engine."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from agent.contract.errors import DocumentInvalid, RequestInvalid
from agent.contract.manifest import Step
from agent.transforms.pipeline import apply, check_steps
from agent.transforms.resize import resize

GRADIENT = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)[..., np.newaxis]


def test_an_image_becomes_the_input_of_a_grey_model() -> None:
    steps = [
        Step("grayscale"),
        Step("resize", {"height": 8, "width": 8, "method": "area"}),
        Step("scale", {"factor": 1 / 255, "offset": 0.0}),
        Step("expand", {"axis": 0}),
    ]
    white = np.full((64, 64, 4), 255, np.uint8)

    array = apply(steps, white)

    assert array.shape == (1, 8, 8, 1)
    assert array.dtype == np.float32
    assert np.allclose(array, 1.0)


def test_channels_come_first_where_the_model_wants_it() -> None:
    image = np.zeros((2, 4, 3), np.uint8)
    image[..., 2] = 9

    assert apply([Step("layout", {"to": "NCHW"})], image)[2].tolist() == [[9] * 4] * 2
    assert apply([Step("layout", {"to": "NHWC"})], image).shape == (2, 4, 3)


def test_grey_becomes_three_channels_and_alpha_is_dropped() -> None:
    assert apply([Step("rgb")], np.full((1, 1, 1), 7, np.uint8)).tolist() == [[[7, 7, 7]]]
    assert apply([Step("rgb")], np.array([[[1, 2, 3, 4]]], np.uint8)).tolist() == [[[1, 2, 3]]]


def test_grey_is_the_luma_that_pillow_gives() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)

    grey = apply([Step("grayscale")], image)[..., 0]

    assert np.abs(grey - np.asarray(Image.fromarray(image).convert("L"), np.float32)).max() <= 1.0


BILINEAR = [("bilinear", Image.Resampling.BILINEAR, size) for size in [(8, 8), (16, 24), (63, 47), (7, 5)]]
BICUBIC = [("bicubic", Image.Resampling.BICUBIC, size) for size in [(8, 8), (63, 47), (90, 100)]]
AREA = [("area", Image.Resampling.BOX, size) for size in [(8, 8), (16, 24)]]


@pytest.mark.parametrize(("method", "filter_", "size"), AREA + BILINEAR + BICUBIC)
def test_images_of_another_size_are_those_of_pillow(
    method: str, filter_: Image.Resampling, size: tuple[int, int]
) -> None:
    ours = resize(GRADIENT, *size, method)[..., 0]
    theirs = np.asarray(Image.fromarray(GRADIENT[..., 0].astype(np.float32)).resize(size[::-1], filter_))

    assert np.abs(ours - theirs).max() < 0.01


def test_area_weighs_pixels_by_what_is_covered() -> None:
    row = np.array([[[0.0], [3.0], [6.0]]])

    assert np.allclose(resize(row, 1, 2, "area").ravel(), [1.0, 5.0])


def test_a_larger_image_is_bilinear_in_both_ways() -> None:
    theirs = np.asarray(
        Image.fromarray(GRADIENT[..., 0].astype(np.float32)).resize((100, 90), Image.Resampling.BILINEAR)
    )

    for method in ("area", "bilinear"):
        assert np.abs(resize(GRADIENT, 90, 100, method)[..., 0] - theirs).max() < 0.01


def test_area_undoes_an_enlargement_exactly() -> None:
    digit = np.random.default_rng(1).integers(0, 17, (8, 8, 1), dtype=np.uint8)

    assert np.allclose(resize(np.kron(digit[..., 0], np.ones((8, 8)))[..., None], 8, 8, "area"), digit)


@pytest.mark.parametrize("size", [(8, 8), (63, 47), (90, 100)])
def test_skipping_mixes_only_the_two_nearest(size: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 48), dtype=np.uint8)

    rows, columns = ((np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, image.shape, strict=True))
    across = np.array([np.interp(columns, np.arange(48), row) for row in image])
    expected = np.array([np.interp(rows, np.arange(64), column) for column in across.T]).T
    assert np.abs(resize(image[..., None], *size, "bilinear-skipping")[..., 0] - expected).max() < 0.01


@pytest.mark.bed
@pytest.mark.timeout(600)  # TensorFlow starts
@pytest.mark.parametrize(
    ("method", "theirs", "antialias"),
    [("bilinear-skipping", "bilinear", False), ("bilinear", "bilinear", True), ("nearest", "nearest", False)],
)
def test_images_of_another_size_are_those_of_tensorflow(method: str, theirs: str, antialias: bool) -> None:
    import tensorflow

    image = np.random.default_rng(3).integers(0, 256, (64, 48, 3), dtype=np.uint8)

    for size in ((8, 8), (63, 47), (90, 100)):
        expected = tensorflow.image.resize(image, size, method=theirs, antialias=antialias).numpy()
        assert np.abs(resize(image, *size, method) - expected).max() < 0.01


def test_nearest_mixes_nothing() -> None:
    assert resize(GRADIENT, 32, 24, "nearest").dtype == np.uint8


@pytest.mark.parametrize(
    "step",
    [
        Step("blur"),
        Step("resize", {"height": 8, "width": 8}),
        Step("resize", {"height": 8, "width": 8, "method": "cubic"}),
        Step("resize", {"height": 0, "width": 8, "method": "area"}),
        Step("scale", {"factor": "1", "offset": 0}),
        Step("scale", {"factor": True, "offset": 0}),
        Step("layout", {"to": "HWC"}),
        Step("dtype", {"to": "object"}),
        Step("top-k", {"k": 0}),
        Step("crop", {"height": 8, "width": 8, "part": 0}),
        Step("letterbox", {"height": 8, "width": 8, "method": "area", "fill": None}),
        Step("normalize", {"mean": [0.5], "deviation": [0.5, 0.5]}),
        Step("normalize", {"mean": [0.5], "deviation": [0]}),
        Step("normalize", {"mean": ["0"], "deviation": [1]}),
        Step("nms", {"score": 0.5, "overlap": 0.5, "limit": 0}),
    ],
)
def test_a_step_that_can_t_be_carried_out_is_refused(step: Step) -> None:
    with pytest.raises(DocumentInvalid):
        check_steps([step])


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3), (1, 4, 4, 3)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestInvalid):
        apply([Step("grayscale")], np.zeros(shape, np.uint8))
