"""Mutations of inputs without coverage to guide them: for machines that atheris has no wheel for, and a quick look."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.fuzz.seeds import WORDS

LONGEST = 4096


def mutated(seeds: Sequence[bytes], count: int, *, seed: int) -> Iterator[bytes]:
    """`count` inputs: the seeds themselves, then what becomes of them. The same for the same `seed`."""
    chance = random.Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 2, 3, 6))):
            _change(data, seeds, chance)
        yield bytes(data[:LONGEST])


def _change(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
    what = chance.randrange(7)
    if what == 0:
        data[at:end] = b""
    elif what == 1:
        data[at:at] = chance.choice(WORDS)
    elif what == 2:
        data[at:end] = chance.choice(WORDS)
    elif what == 3:
        data[at:at] = data[at:end] * chance.choice((1, 2, 8, 64))
    elif what == 4:
        data[at:end] = chance.randbytes(end - at)
    elif what == 5:
        other = chance.choice(seeds)
        data[at:] = other[chance.randint(0, len(other)) :]
    elif data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
