"""What is done to whom, and when: a pure function of a seed.

The rule: the same seed and sizes give the same plan on every machine, fast or slow, since faults are placed by how many
samples were made so far, not by a clock.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass

KILLS = 5
"""Of each part, one of them together with all others."""
CUTS = 5
"""Of each board's link; about every second one stays unplugged for a while."""
QUIET = 0.02
"""Share of the samples at the beginning and at the end that is left in peace."""
LONGEST_DOWN_S = 2.0
STALL_S = 3.0
"""Longer than a board waits for an acknowledgement before it sends again."""

BROKER = "broker"
COLLECTOR = "collector"


class Deed(enum.StrEnum):
    """What can be done to a part."""

    KILL = "kill"
    """SIGKILL, and a new start after a while."""
    CUT = "cut"
    """A board's open connection is reset."""
    UNPLUG = "unplug"
    """A board's connection is reset, and for a while no other one comes about."""
    STALL = "stall"
    """SIGSTOP, and SIGCONT after a while: connections stay, nothing moves."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is done.

    Attributes:
        at: when so many samples were made by all boards together.
        part: `board-1`, …, `broker` or `collector`.
        deed: what is done to it.
        for_s: how long it stays so, in seconds; 0 where nothing lasts.
    """

    at: int
    part: str
    deed: Deed
    for_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is done in a run, in order.

    Attributes:
        seed: that it was made from.
        boards: names of the boards.
        samples: how many are made in all.
        faults: ordered by `at`.
    """

    seed: int
    boards: tuple[str, ...]
    samples: int
    faults: tuple[Fault, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything that faults happen to."""
        return (*self.boards, BROKER, COLLECTOR)

    def of(self, part: str, *deeds: Deed) -> tuple[Fault, ...]:
        """What is done to one part."""
        return tuple(fault for fault in self.faults if fault.part == part and fault.deed in deeds)


def make_plan(
    seed: int, *, boards: int = 4, samples: int = 60_000, kills: int = KILLS, cuts: int = CUTS
) -> Plan:
    """The plan of a seed.

    Args:
        seed: any whole number.
        boards: how many, 1 or more.
        samples: made by all boards together, 100 or more.
        kills: of each part. One of them strikes all parts at the same moment, as when the power of a house fails.
        cuts: of each board's link.
    """
    names = tuple(f"board-{number}" for number in range(1, boards + 1))
    chance = random.Random(f"edge chaos {seed}")  # a text, since numbers lose their sign
    faults = list(_faults(chance, names, samples, kills, cuts))
    order = {deed: number for number, deed in enumerate(Deed)}
    faults.sort(key=lambda fault: (fault.at, fault.part, order[fault.deed]))
    return Plan(seed=seed, boards=names, samples=samples, faults=tuple(faults))


def _faults(
    chance: random.Random, boards: tuple[str, ...], samples: int, kills: int, cuts: int
) -> Iterator[Fault]:
    first, last = int(samples * QUIET), int(samples * (1 - QUIET))

    def moment() -> int:
        return chance.randint(first, last)

    def a_while() -> float:
        return round(chance.random() * LONGEST_DOWN_S, 2)

    together = moment()
    for part in (*boards, BROKER, COLLECTOR):
        for at in [together, *(moment() for _ in range(kills - 1))][:kills]:
            # The broker is the collector's child: when it comes again is the collector's matter.
            yield Fault(at=at, part=part, deed=Deed.KILL, for_s=0.0 if part == BROKER else a_while())
    for board in boards:
        for number in range(cuts):
            if number % 2:
                yield Fault(at=moment(), part=board, deed=Deed.UNPLUG, for_s=a_while())
            else:
                yield Fault(at=moment(), part=board, deed=Deed.CUT)
    for part in (chance.choice(boards), BROKER, COLLECTOR):
        yield Fault(at=moment(), part=part, deed=Deed.STALL, for_s=STALL_S)
