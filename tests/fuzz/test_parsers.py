"""A few hundred inputs for each parser: what `python -m tests.fuzz` does a million times, in `make test`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.fuzz.__main__ import WEIGHTS
from tests.fuzz.mutation import mutated
from tests.fuzz.parsers import Parser, parsers
from tests.fuzz.seeds import seeds

INPUTS = 300


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Parser]:
    return parsers(tmp_path_factory.mktemp("parsers"))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("name", WEIGHTS)
def test_whatever_comes_is_answered_or_refused(every: Mapping[str, Parser], name: str) -> None:
    for data in mutated(seeds()[name], INPUTS, seed=0):
        every[name](data)


def test_every_parser_has_seeds_and_a_share(every: Mapping[str, Parser]) -> None:
    assert set(every) == set(WEIGHTS) == set(seeds())
    assert sum(WEIGHTS.values()) == 100


def test_a_parser_that_fails_is_noticed(every: Mapping[str, Parser], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.parsers._echo", lambda request: 1 / 0)

    with pytest.raises(AssertionError, match="status 500"):
        every["http"](seeds()["http"][0])
