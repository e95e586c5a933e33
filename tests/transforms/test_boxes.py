"""Boxes: read from each layout, one for each thing, and back into the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.contract.errors import DocumentInvalid
from agent.contract.manifest import Step, Task
from agent.transforms.answers import answer
from agent.transforms.boxes import Boxes, best_boxes, intersection_over_union, read_boxes
from agent.transforms.frame import Frame
from agent.transforms.images import Picture
from agent.transforms.pipeline import prepare

PARAMETERS: dict[str, Any] = {
    "boxes": 0,
    "scores": 1,
    "classes": -1,
    "format": "xyxy",
    "order": "boxes-first",
    "unit": "pixels",
    "objectness": False,
}
CORNERS = np.array([[10, 20, 30, 60], [0, 0, 8, 4]], np.float32)
SCORES = np.array([[0.1, 0.9], [0.6, 0.2]], np.float32)


def read(outputs: list[np.ndarray], **parameters: Any) -> Boxes:
    return read_boxes(outputs, {**PARAMETERS, **parameters}, columns=100, rows=200)


FORMATS = {
    "xyxy": CORNERS,
    "yxyx": CORNERS[:, [1, 0, 3, 2]],
    "xywh": np.array([[10, 20, 20, 40], [0, 0, 8, 4]], np.float32),
    "cxcywh": np.array([[20, 40, 20, 40], [4, 2, 8, 4]], np.float32),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_gives_the_same_boxes(kind: str) -> None:
    found = read([FORMATS[kind][np.newaxis], SCORES[np.newaxis]], format=kind)

    assert found.corners.tolist() == CORNERS.tolist()
    assert found.classes.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])


def test_scores_may_follow_the_boxes_and_values_may_come_first() -> None:
    one = np.concatenate([FORMATS["cxcywh"], SCORES], axis=1)

    found = read([one.T[np.newaxis]], scores=0, format="cxcywh", order="values-first")

    assert found.corners.tolist() == CORNERS.tolist()
    assert found.classes.tolist() == [1, 0]


def test_whether_there_is_anything_counts_for_each_class() -> None:
    one = np.concatenate([CORNERS, [[0.5], [1.0]], SCORES], axis=1).astype(np.float32)

    assert read([one], scores=0, objectness=True).scores.tolist() == pytest.approx([0.45, 0.6])


def test_classes_may_be_numbers_of_their_own_and_lengths_fractions() -> None:
    fractions = (CORNERS / [100, 200, 100, 200]).astype(np.float32)[np.newaxis]
    scores, classes = np.array([[0.9, 0.6]], np.float32), np.array([[3.0, 7.0]], np.float32)

    found = read([fractions, scores, classes], classes=2, unit="fraction")

    assert found.classes.tolist() == [3, 7]
    assert found.corners == pytest.approx(CORNERS)


def test_what_is_not_finite_is_no_box() -> None:
    corners = np.concatenate([CORNERS, [[np.nan, 0, 1, 1], [0, 0, np.inf, 1]]]).astype(np.float32)
    scores = np.concatenate([SCORES, SCORES])
    scores[1] = np.nan

    assert len(read([corners, scores]).scores) == 1


@pytest.mark.parametrize(
    ("outputs", "parameters"),
    [
        ([CORNERS], {}),
        ([CORNERS[:, :3], SCORES], {}),
        ([CORNERS, np.ones((3, 2), np.float32)], {}),
        ([CORNERS], {"scores": 0}),
        ([CORNERS[np.newaxis, np.newaxis, np.newaxis], SCORES], {}),
    ],
)
def test_outputs_that_are_not_as_declared_are_refused(outputs: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(DocumentInvalid, match="step `boxes`"):
        read(outputs, **parameters)


@st.composite
def boxes(draw: st.DrawFn) -> Boxes:
    count = draw(st.integers(0, 20))
    places = draw(arrays.arrays(np.float32, (count, 2), elements=st.integers(0, 30).map(float)))
    sizes = draw(arrays.arrays(np.float32, (count, 2), elements=st.integers(1, 20).map(float)))
    scores = draw(arrays.arrays(np.float32, count, elements=st.floats(0, 1, width=32)))
    classes = draw(arrays.arrays(np.int64, count, elements=st.integers(0, 2)))
    return Boxes(np.concatenate([places, places + sizes], axis=1), scores, classes)


def rows(found: Boxes) -> list[tuple[Any, ...]]:
    return [
        (*corners, score, kind)
        for corners, score, kind in zip(
            found.corners.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
    ]


@given(boxes(), st.floats(0, 1), st.floats(0.05, 1))
def test_what_is_kept_is_apart_and_what_is_dropped_has_a_better_rival(
    found: Boxes, score: float, overlap: float
) -> None:
    kept = best_boxes(found, score=score, overlap=overlap, limit=100)

    assert set(rows(kept)) <= set(rows(found))
    assert kept.scores.tolist() == sorted(kept.scores.tolist(), reverse=True)
    assert (kept.scores >= score).all()
    for place, corners in enumerate(kept.corners):
        same_class = kept.classes[place + 1 :] == kept.classes[place]
        shared = intersection_over_union(corners[None], kept.corners[place + 1 :])[0]
        assert (shared[same_class] <= overlap).all()
    for place in range(len(found.scores)):
        if found.scores[place] >= score and rows(found)[place] not in rows(kept):
            rivals = intersection_over_union(found.corners[place][None], kept.corners)[0]
            better = (kept.classes == found.classes[place]) & (kept.scores >= found.scores[place])
            assert (rivals[better] > overlap).any()


@given(boxes(), st.floats(0.05, 1))
def test_twice_is_as_once(found: Boxes, overlap: float) -> None:
    once = best_boxes(found, score=0.0, overlap=overlap, limit=100)

    assert rows(best_boxes(once, score=0.0, overlap=overlap, limit=100)) == rows(once)


@given(boxes())
def test_no_more_than_the_limit_are_kept_and_they_are_the_best(found: Boxes) -> None:
    every = best_boxes(found, score=0.0, overlap=0.5, limit=100)

    assert rows(best_boxes(found, score=0.0, overlap=0.5, limit=3)) == rows(every)[:3]


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(8, 96),
    st.integers(8, 96),
    st.sampled_from([("letterbox",), ("resize",), ("crop", "resize"), ("crop", "letterbox")]),
    st.sampled_from([1, 2, 4]),
)
def test_a_spot_of_the_picture_is_found_again_where_it_was(
    height: int, width: int, rows_: int, columns: int, ops: tuple[str, ...], reduced: int
) -> None:
    """A gradient tells where each pixel of the input comes from; the frame must say the same."""
    parameters = {"height": rows_, "width": columns, "method": "bilinear", "fill": -1, "part": 0.9}
    down, across = np.mgrid[0:height, 0:width]
    pixels = np.stack([across + 0.5, down + 0.5, across * 0 + 1], axis=2).astype(np.float32) * reduced

    picture = Picture(pixels, width * reduced, height * reduced)  # type: ignore[arg-type] - numbers, to be exact
    prepared = prepare([Step(op, parameters) for op in ops], picture)

    found, frame = prepared.array, prepared.frame
    shown = found[..., 2] > 0
    for axis, origin, step in ((1, frame.left, frame.across), (0, frame.top, frame.down)):
        places = np.flatnonzero(shown.any(axis=1 - axis))
        middles = origin + (places + 0.5) * step
        # Nearer to the edge of what is shown, pixels of the edge count more than once
        margin = max(step, reduced)
        first, last = origin + places[0] * step, origin + (places[-1] + 1) * step
        inner = places[(middles >= first + margin) & (middles <= last - margin)]
        values = (found[..., 1 - axis] * shown).max(axis=1 - axis)[inner]
        assert values == pytest.approx(origin + (inner + 0.5) * step, abs=0.2 * reduced)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(8, 640), st.integers(8, 640))
def test_a_letterbox_gives_the_whole_picture_back(height: int, width: int, rows_: int, columns: int) -> None:
    step = Step("letterbox", {"height": rows_, "width": columns, "method": "nearest", "fill": 0})
    frame = prepare([step], Picture(np.zeros((height, width, 1), np.uint8), width, height)).frame

    assert (frame.columns, frame.rows) == (columns, rows_)
    whole = frame.boxes(np.array([[0, 0, columns, rows_]]))[0]
    assert whole.tolist() == pytest.approx([0, 0, width, height], abs=1e-2)
    down, across = frame.seen(columns, rows_)
    corners = np.array([[across.start, down.start, across.stop, down.stop]])
    assert frame.boxes(corners)[0].tolist() == pytest.approx([0, 0, width, height], abs=1e-2)


def test_a_box_of_a_sample_without_a_picture_stays_in_the_input() -> None:
    steps = (Step("boxes", PARAMETERS), Step("nms", {"score": 0.5, "overlap": 0.5, "limit": 9}))

    found = answer(Task.DETECTION, steps, {"b": CORNERS[np.newaxis], "s": SCORES[np.newaxis]})["answers"]

    assert [entry["box"] for entry in found] == CORNERS.tolist()
    assert found[0]["label"] == "1"


def test_a_frame_keeps_boxes_inside_the_picture() -> None:
    frame = Frame(width=10, height=20, columns=10, rows=20)

    assert frame.boxes(np.array([[-5.0, -5.0, 50.0, 5.0]])).tolist() == [[0, 0, 10, 5]]
