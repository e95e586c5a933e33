"""Which answers of the board's own stream are published."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.stream.filters import Filter


def said(*answers: Any, task: str = "classification") -> dict[str, Any]:
    """A document; an answer is a label with its score, or all of it."""
    whole = [{"label": each[0], "score": each[1]} if isinstance(each, tuple) else each for each in answers]
    return {"model": "m", "task": task, "answers": whole}


def test_without_filters_every_answer_is_published_as_it_is() -> None:
    lets = Filter(min_score=None, on_change=False)
    for document in (said(("cat", -3.0)), said(("cat", -3.0)), said({"vector": [1.0]}, task="embedding")):
        assert lets(document) == document


def test_an_answer_with_too_low_a_score_is_none() -> None:
    lets = Filter(min_score=0.5, on_change=False)
    found = lets(said(("cat", 0.5), ("dog", 0.4)))
    assert found is not None
    assert found["answers"] == [{"label": "cat", "score": 0.5}]
    assert lets(said(("cat", 0.49))) is None
    assert lets(said({"label": "road", "area": 0.1}, task="segmentation")) is not None


def test_on_change_only_what_says_something_else_is_published() -> None:
    lets = Filter(min_score=0.5, on_change=True)
    published = [
        lets(document) is not None
        for document in (
            said(("cat", 0.2)),
            said(("cat", 0.9)),
            said(("cat", 0.8), ("dog", 0.7)),
            said(("dog", 0.8), ("cat", 0.7)),
            said(("dog", 0.3)),
            said(("dog", 0.3)),
            said(("dog", 0.9)),
        )
    ]
    assert published == [False, True, False, True, True, False, True]


def test_that_nothing_is_there_any_more_is_a_change() -> None:
    lets = Filter(min_score=None, on_change=True)
    assert lets(said(("person", 0.9), task="detection")) is not None
    gone = lets(said(task="detection"))
    assert gone is not None
    assert gone["answers"] == []


@pytest.mark.parametrize(
    ("task", "before", "after", "changed"),
    [
        ("detection", [("a", 0.9), ("b", 0.8)], [("b", 0.9), ("a", 0.7)], False),
        ("detection", [("a", 0.9)], [("a", 0.9), ("a", 0.8)], True),
        ("anomaly", [{"score": 1.0, "verdict": "normal"}], [{"score": 2.0, "verdict": "normal"}], False),
        ("anomaly", [{"score": 1.0, "verdict": "normal"}], [{"score": 9.0, "verdict": "anomalous"}], True),
        ("embedding", [{"vector": [1.0]}], [{"vector": [1.5]}], True),
        ("embedding", [{"vector": [1.0]}], [{"vector": [1.0]}], False),
    ],
)
def test_what_a_change_is_depends_on_the_task(task: str, before: Any, after: Any, changed: bool) -> None:
    lets = Filter(min_score=None, on_change=True)
    lets(said(*before, task=task))
    assert (lets(said(*after, task=task)) is not None) == changed


documents = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=3).map(
    lambda answers: said(*answers, task="detection")
)


@given(st.lists(documents), st.none() | st.floats(0, 1))
def test_two_that_are_published_one_after_the_other_never_say_the_same(
    heard: list[dict[str, Any]], min_score: float | None
) -> None:
    lets = Filter(min_score=min_score, on_change=True)
    labels = [
        sorted(each["label"] for each in found["answers"]) for found in map(lets, heard) if found is not None
    ]
    assert all(one != other for one, other in itertools.pairwise(labels))
