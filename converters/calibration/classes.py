"""From the names of classes to their numbers.

The rule: with a file of labels a class's number is its line, and a name that is no line is refused; without one the
names are numbered in sorted order, which holds only where there is one for each class of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DataMismatch

SHOWN = 3
"""Names that a sentence holds."""
MOST_DIGITS = 10


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The classes of samples.

    Attributes:
        y: int64 `[N]`.
        names: in their order, where they were numbered by sorting; else none.
    """

    y: NDArray[np.int64]
    names: tuple[str, ...] = ()


def numbered(
    found: Sequence[str],
    labels: Sequence[str],
    *,
    path: object,
    purpose: str,
    what: str,
    numbers: bool,
) -> Classes:
    """The numbers of classes that are told by name.

    Args:
        found: the name for each sample.
        labels: names of the classes in their order, or none.
        path: of the data, for the sentence of an error.
        purpose: likewise.
        what: what the names are, like `folder`.
        numbers: names that are all whole numbers are the classes' own, whatever the labels.

    Raises:
        DataMismatch: a name is none of the labels.
    """
    if numbers and all(name.isdecimal() and len(name) < MOST_DIGITS for name in found):
        return Classes(y=np.array([int(name) for name in found], np.int64))
    order = tuple(labels) or tuple(sorted(set(found)))
    places = {name: place for place, name in enumerate(order)}
    if unknown := sorted(set(found) - set(places)):
        names = ", ".join(f"`{name}`" for name in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        reason = f"{what} {names}{more}: no such label among the {len(labels)}"
        raise DataMismatch(purpose=purpose, path=path, reason=reason, expected="names as in --labels")
    return Classes(y=np.array([places[name] for name in found], np.int64), names=() if labels else order)


def check_count(names: Sequence[str], classes: int | None, *, path: object, purpose: str) -> None:
    """Refuse names that were numbered by sorting where they are not one for each class.

    Raises:
        DataMismatch: so.
    """
    if names and classes is not None and len(names) != classes:
        reason = f"it names {len(names)} classes, the model has {classes}: sorting them does not tell which is which"
        raise DataMismatch(
            purpose=purpose,
            path=path,
            reason=reason,
            expected="each class once, or the order with --labels FILE",
        )
