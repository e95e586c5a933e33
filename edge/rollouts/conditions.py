"""The conditions under which a rollout goes on: texts in, numbers out.

The rule: what can't be read is an error when the plan is made. Behind this door there are only numbers that the gate
can compare with, so that no threshold fails open at night.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.contract.errors import PlanInvalid
from edge.rollouts.plan import Patience
from edge.suggestion import did_you_mean

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)
_LONGEST_S = 30 * 86_400.0


@dataclass(frozen=True)
class Amount:
    """So many boards: a count, or a percentage of the boards in question.

    Attributes:
        value: a whole number of boards, or 0 to 100.
        percent: whether `value` is a percentage.
    """

    value: float
    percent: bool = False

    def at_most(self, total: int) -> int:
        """How many of `total` that allows; a part of a board is none."""
        return min(total, math.floor(total * self.value / 100 + 1e-9) if self.percent else int(self.value))

    def at_least(self, total: int) -> int:
        """How many of `total` that asks for; a part of a board is a whole one."""
        return min(total, math.ceil(total * self.value / 100 - 1e-9) if self.percent else int(self.value))

    def __str__(self) -> str:
        return f"{self.value:.12g}{'%' if self.percent else ''}"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What must hold in each wave.

    Attributes:
        max_failed: boards of a wave that may refuse the release or take it back.
        max_unreachable: boards of a wave that may stay out of reach; more of them hold the rollout, since a board
            that never saw the release says nothing against it.
        max_silent: boards of a wave that may fall silent. silence_s: when a board counts as silent, in seconds of
            `LinkState.silent_s`, 1 s to 30 days.
        min_boards: boards of a wave that must run the release before the next one, at least one.
        min_requests: requests that the release must have answered in a wave; 0 where no requests come.
        dwell_s: seconds for which each board must have been watched with the release, 0 s to 30 days.
        max_slowdown: compute time a run, as a ratio to peers at the same time, above 0. Raise it for a model that is
            larger by design.
        max_error_increase: part of the requests, 0 to 1, by which errors may grow.
    """

    max_failed: Amount = Amount(0)
    max_unreachable: Amount = Amount(0)
    max_silent: Amount = Amount(0)
    silence_s: float = 120.0
    min_boards: Amount = Amount(1)
    min_requests: int = 50
    dwell_s: float = 300.0
    max_slowdown: float = 1.15
    max_error_increase: float = 0.005

    def texts(self) -> dict[str, str]:
        """As texts, for the journal. Law: `read_conditions(x.texts()) == x`."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: str(value) if isinstance(value, Amount) else repr(value) for name, value in values}


def read_amount(text: str, *, what: str) -> Amount:
    """`3` or `10%`.

    Raises:
        PlanInvalid: it is neither; the message names `what`.
    """
    digits, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    if not _NUMBER.fullmatch(digits):
        raise PlanInvalid(what=f"{what} {text}", reason="it must be a number of boards like `3`, or `10%`")
    value = float(digits)
    if percent and value > 100:
        raise PlanInvalid(what=f"{what} {text}", reason="it must be 0% to 100%")
    if not percent and not value.is_integer():
        raise PlanInvalid(what=f"{what} {text}", reason="boards are whole; a part of them is like `10%`")
    return Amount(value, percent)


def read_conditions(given: Mapping[str, str]) -> Conditions:
    """Conditions from texts by the name of their field; what is not given has its default.

    Raises:
        PlanInvalid: a name is not known, a value can't be read or is out of bounds.
    """
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in _READERS:
            reason = f"there is no such condition{did_you_mean(name, _READERS)}"
            raise PlanInvalid(what=name, reason=reason)
        values[name] = _READERS[name](text, name)
    return Conditions(**values)


def read_patience(given: Mapping[str, str]) -> Patience:
    """How long a rollout waits, from texts by the name of their field; what is not given has its default.

    Raises:
        PlanInvalid: a value can't be read or is out of bounds.
    """
    read = _number(0, _LONGEST_S)
    return Patience(**{name: read(text, name) for name, text in given.items()})


Reader = Callable[[str, str], Amount | float | int]


def _amount(text: str, name: str) -> Amount:
    return read_amount(text, what=name)


def _boards(text: str, name: str) -> Amount:
    amount = read_amount(text, what=name)
    if amount.value == 0:
        raise PlanInvalid(
            what=f"{name} {text}", reason="a wave that nothing ran in shows nothing: at least 1"
        )
    return amount


def _number(least: float, most: float) -> Callable[[str, str], float]:
    def read(text: str, name: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise PlanInvalid(what=f"{name} {text}", reason="it is no number") from error
        if not least <= value <= most:
            raise PlanInvalid(what=f"{name} {text}", reason=f"it must be {least:g} to {most:.12g}")
        return value

    return read


def _whole(text: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII):
        raise PlanInvalid(what=f"{name} {text}", reason="it must be a whole number, 0 or more")
    return int(text)


_READERS: dict[str, Reader] = {
    "max_failed": _amount,
    "max_unreachable": _amount,
    "max_silent": _amount,
    "silence_s": _number(1, _LONGEST_S),
    "min_boards": _boards,
    "min_requests": _whole,
    "dwell_s": _number(0, _LONGEST_S),
    "max_slowdown": _number(0.01, 1e6),
    "max_error_increase": _number(0, 1),
}
