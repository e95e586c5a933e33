"""A metric of the user's own: `module:function` or `file.py:function`.

The rule: it is the user's code, and runs because the user named it on the command line, never because a file did. It
takes the outputs, a list of arrays `[N, ...]` of real numbers, and the labels `y [N, ...]`, and gives one number for
all samples or an array of one number a sample, whose mean counts. More is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import OptionInvalid
from converters.own_code import FAULTS, module_of

Array = NDArray[Any]
Own = Callable[[Sequence[Array], Array], Any]


def is_own(name: str) -> bool:
    """Whether a metric's name is that of a function."""
    module, colon, function = name.rpartition(":")
    return bool(colon and module and function.isidentifier())


@cache
def load(name: str) -> Own:
    """Import the function, once in a process.

    Raises:
        OptionInvalid: there is none, or importing it fails.
    """
    place, _, function = name.rpartition(":")
    try:
        found = getattr(module_of(place), function, None)
    except FAULTS as error:
        raise _refused(name, error) from error
    if not callable(found):
        raise OptionInvalid(option=f"--metric {name}", reason=f"`{place}` has no function `{function}`")
    return found  # type: ignore[no-any-return]


def value(name: str, function: Own, outputs: Sequence[Array], y: Array) -> float:
    """What the function says of these samples.

    Raises:
        OptionInvalid: it raises, or gives no finite number.
    """
    try:
        found = float(np.mean(np.asarray(function(outputs, y), dtype=np.float64)))
    except FAULTS as error:
        raise _refused(name, error) from error
    if not np.isfinite(found):
        raise OptionInvalid(option=f"--metric {name}", reason=f"it gives {found}")
    return found


def _refused(name: str, error: BaseException) -> OptionInvalid:
    return OptionInvalid(option=f"--metric {name}", reason=f"{type(error).__name__}: {error}")
