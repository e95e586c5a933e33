"""Which answers are published. Pure.

The rule: an answer with too low a score is none. A document without any is not published, unless there was one before
and changes are asked for: that nothing is there any more is a change, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Filter:
    """The filters of one stream, with what it published last.

    Args:
        min_score, on_change: see `StreamConfig`.
    """

    def __init__(self, *, min_score: float | None, on_change: bool) -> None:
        self._min_score = min_score
        self._on_change = on_change
        self._last: object = ()

    def __call__(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What of the image door's document is to be published; None for nothing."""
        answers = [each for each in document["answers"] if self._lets(each)]
        said = _said(str(document["task"]), answers)
        changed, self._last = said != self._last, said
        wanted = changed if self._on_change else bool(answers)
        return {**document, "answers": answers} if wanted else None

    def _lets(self, answer: Mapping[str, Any]) -> bool:
        return self._min_score is None or answer.get("score", self._min_score) >= self._min_score


def _said(task: str, answers: list[Mapping[str, Any]]) -> object:
    """What two documents have in common that say the same: names, not numbers. Where there are no names, all of it."""
    if answers and not any("label" in each or "index" in each or "verdict" in each for each in answers):
        return answers
    names = [each.get("verdict", each.get("label", each.get("index"))) for each in answers]
    return tuple(names[:1] if task == "classification" else sorted(map(str, names)))
