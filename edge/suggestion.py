"""`did you mean …?`: one rule for every name that a person may mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely stands for, or None when nothing comes near."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``, did you mean `raspberry-pi-5`?`` to be put behind a sentence, or an empty string."""
    match = closest(name, known)
    return f", did you mean `{match}`?" if match else ""
