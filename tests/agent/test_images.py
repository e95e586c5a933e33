"""A photo to the agent: what each task answers, and what is refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.agent.conftest import RunningAgent
from tests.agent.pictures import SIDE, picture_board
from tests.transforms.photos import encoded, png, turned

RED = np.full((40, 80, 3), (230, 20, 10), np.uint8)
HALVES = np.concatenate([RED, np.full((40, 80, 3), (10, 20, 230), np.uint8)], axis=1)
"""Red to the left, blue to the right; 160 by 40 pixels."""


@pytest.fixture(scope="module")
def sees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    folder = tmp_path_factory.mktemp("sees")
    agent = RunningAgent(picture_board(folder), folder / "agent.log")
    try:
        yield agent.ready()
    finally:
        agent.stop()


def ask(agent: RunningAgent, task: str, data: bytes) -> Any:
    status, found = agent.post(f"/edge/v1/models/{task}/infer", data)
    assert status == 200, found
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_classifier_names_what_it_sees(sees: RunningAgent, kind: str) -> None:
    found = ask(sees, "classification", encoded(RED, kind))

    assert {key: found[key] for key in ("model", "version", "release", "task")} == {
        "model": "classification",
        "version": "1",
        "release": "classification@1",
        "task": "classification",
    }
    assert [answer["label"] for answer in found["answers"]] == ["red", "green"]
    assert found["answers"][0]["index"] == 0
    assert found["answers"][0]["score"] == pytest.approx(0.9, abs=0.02)


def test_a_version_may_be_named(sees: RunningAgent) -> None:
    path = "/edge/v1/models/classification/versions/{}/infer"

    assert sees.post(path.format(1), encoded(RED))[0] == 200
    assert sees.post(path.format(2), encoded(RED))[0] == 404


def test_boxes_are_one_for_each_thing_and_in_pixels_of_the_photo(sees: RunningAgent) -> None:
    found = ask(sees, "detection", encoded(HALVES))["answers"]

    # 160 pixels became 16, in the middle: ten pixels each, and six rows of padding above
    assert [(answer["label"], answer["box"]) for answer in found] == [
        ("red", [0.0, 0.0, 80.0, 40.0]),
        ("green", [100.0, 0.0, 140.0, 40.0]),
    ]
    assert [answer["score"] for answer in found] == pytest.approx([0.9, 0.7])


def test_boxes_lie_in_the_upright_photo(sees: RunningAgent) -> None:
    found = ask(sees, "detection", encoded(HALVES, "JPEG", exif=turned(6)))["answers"]

    # 40 by 160 pixels now, with six columns of padding to the left
    assert found[0]["box"] == [0.0, 60.0, 20.0, 100.0]


def test_a_map_covers_the_photo_and_not_its_padding(sees: RunningAgent) -> None:
    found = ask(sees, "segmentation", encoded(HALVES))

    classes = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["mask"]["png"]))))
    assert classes.tolist() == [[0] * 8 + [2] * 8] * 4
    assert found["mask"]["box"] == [0.0, 0.0, 160.0, 40.0]
    assert [(answer["label"], answer["area"]) for answer in found["answers"]] == [("red", 0.5), ("blue", 0.5)]


def test_a_vector_has_the_length_1(sees: RunningAgent) -> None:
    vector = ask(sees, "embedding", encoded(RED))["answers"][0]["vector"]

    assert np.linalg.norm(vector) == pytest.approx(1.0)
    assert vector[0] > 0.9


def test_quantities_and_plain_tensors_have_their_names(sees: RunningAgent) -> None:
    quantity = ask(sees, "regression", encoded(RED))["answers"][0]
    plain = ask(sees, "tensor", encoded(RED))["answers"][0]

    assert (quantity["name"], plain["name"], plain["shape"]) == ("mean", "mean", [3])
    assert quantity["values"] == pytest.approx([100 * value for value in plain["values"]])


def test_what_is_unusual_is_told_by_the_threshold(sees: RunningAgent) -> None:
    bright, dark = encoded(RED), encoded(RED // 2)

    assert ask(sees, "anomaly", bright)["answers"][0]["verdict"] == "anomalous"
    usual = ask(sees, "anomaly", dark)["answers"][0]
    assert (usual["verdict"], usual["threshold"]) == ("normal", 0.75)
    assert usual["score"] == pytest.approx(115 / 255, abs=1e-3)


def test_an_array_is_a_sample_as_the_model_takes_it(sees: RunningAgent) -> None:
    pixels = np.zeros((3, SIDE, SIDE), np.float64)
    pixels[1] = 1.0
    written = io.BytesIO()
    np.save(written, pixels)

    found = ask(sees, "classification", written.getvalue())

    assert (found["answers"][0]["label"], found["answers"][0]["score"]) == ("green", 1.0)


def test_what_is_refused_says_why_and_no_path(sees: RunningAgent) -> None:
    short = io.BytesIO()
    np.save(short, np.zeros(3, np.float32))
    huge = (
        b"\x93NUMPY\x01\x00\x50\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}".ljust(80)
    )
    bomb = png(20_000, 20_000, b"")
    photo = encoded(RED)
    cases = [
        ("classification", b"", 400, "neither a JPEG nor a PNG"),
        ("classification", b"{}", 400, "neither a JPEG nor a PNG"),
        ("classification", photo[: len(photo) // 2], 400, "damaged"),
        ("classification", bomb, 413, "20000 x 20000 pixels"),
        ("classification", huge, 400, "one array of real numbers"),
        ("classification", short.getvalue(), 400, "the sample has the shape [3]"),
        ("digits", photo, 400, "no steps from an image"),
        ("missing", photo, 404, "unknown model"),
    ]
    for model, data, wanted, words in cases:
        status, found = sees.post(f"/edge/v1/models/{model}/infer", data)
        assert (status, words in found["error"], str(sees.board.root) in found["error"]) == (
            wanted,
            True,
            False,
        ), found
    assert sees.request("GET", "/edge/v1/models/classification/infer")[0] == 405


def test_many_photos_at_once_are_all_answered_or_told_to_come_again(sees: RunningAgent) -> None:
    photo = encoded(np.tile(RED, (20, 10, 1)), "JPEG")

    with ThreadPoolExecutor(40) as clients:
        statuses = list(
            clients.map(lambda _: sees.post("/edge/v1/models/classification/infer", photo)[0], range(80))
        )

    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 17
    assert sees.post("/edge/v1/models/classification/infer", photo)[0] == 200


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_predict_takes_pictures_as_image_models_of_tensorflow_serving_do(
    sees: RunningAgent, kind: str
) -> None:
    path, pictures = "/v1/models/tensor:predict", [encoded(RED, kind), encoded(HALVES, kind)]
    each = [ask(sees, "tensor", picture)["answers"][0]["values"] for picture in pictures]

    for body in (
        {"instances": [b64(picture) for picture in pictures]},
        {"instances": [{"pixels": b64(picture)} for picture in pictures]},
        {"inputs": [b64(picture) for picture in pictures]},
    ):
        status, found = sees.post(path, body)
        assert status == 200, found
        np.testing.assert_allclose(next(iter(found.values())), each, atol=1e-6)
    status, found = sees.post(path, {"inputs": b64(pictures[0])})
    np.testing.assert_allclose(found["outputs"], each[:1], atol=1e-6)


def test_bytes_that_are_no_picture_are_still_a_tensor(sees: RunningAgent) -> None:
    pixels = np.full((3, SIDE, SIDE), 0.5, np.float32)

    status, found = sees.post("/v1/models/tensor:predict", {"instances": [b64(pixels.tobytes())]})

    assert status == 200, found
    assert found["predictions"] == [[0.5, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("model", "pictures", "status", "words"),
    [
        ("tensor", [encoded(RED)] * 33, 413, "at most 32 are decoded for one"),
        ("tensor", [encoded(RED), b"no picture"], 400, "neither a JPEG nor a PNG"),
        ("tensor", [encoded(RED)[:-60]], 400, "damaged"),
        ("digits", [encoded(RED)], 400, "takes 256 bytes a sample"),
    ],
    ids=["too many", "one that is none", "cut off", "a model without steps"],
)
def test_pictures_that_predict_can_not_take_are_refused(
    sees: RunningAgent, model: str, pictures: list[bytes], status: int, words: str
) -> None:
    found = sees.post(f"/v1/models/{model}:predict", {"instances": [b64(picture) for picture in pictures]})

    assert found[0] == status
    assert words in found[1]["error"]
