from __future__ import annotations

import json
import pickle
import re
import string
from collections import Counter
from typing import Any

import pytest

from agent.contract.errors import EdgeError, ExitCode, concrete_errors, error_from_plain
from tests.contract.error_page import PAGE, page

NAMED = pytest.mark.parametrize("kind", concrete_errors(), ids=lambda kind: kind.code)


def facts(kind: type[EdgeError]) -> dict[str, Any]:
    """A value for each fact: a number where the sentence formats one."""
    fields = string.Formatter().parse(kind.template + kind.hint_template)
    return {name: 0.5 if spec else f"<{name}>" for _, name, spec, _ in fields if name}


def test_codes_are_unique() -> None:
    assert [
        code for code, count in Counter(kind.code for kind in concrete_errors()).items() if count > 1
    ] == []


@NAMED
def test_an_error_writes_its_own_sentence(kind: type[EdgeError]) -> None:
    error = kind(**facts(kind))
    for text in (str(error), error.hint or "no hint"):
        assert text.strip() == text != ""
        assert "{" not in text
        assert not text.endswith(".")
    assert re.fullmatch(r"[a-z]+\.[a-z-]+", kind.code)
    assert kind.exit_code is not ExitCode.DONE


@pytest.mark.parametrize(
    "code", ["trial.crashed", "trial.timed-out", "trial.probation-failed", "trial.attempts-exhausted"]
)
def test_what_ends_a_trial_says_which_command_shows_why(code: str) -> None:
    """And without facts: the board says it again for a process that told it by code and sentence."""
    (kind,) = (kind for kind in concrete_errors() if kind.code == code)
    assert "`edge logs TARGET`" in kind.hint_template
    assert "{" not in kind.hint_template


@NAMED
def test_an_error_travels(kind: type[EdgeError]) -> None:
    error = kind(**facts(kind))
    plain = json.loads(json.dumps(error.to_plain()))
    assert plain["code"] == kind.code
    assert plain["message"] == str(error)
    told = error_from_plain(plain)
    assert (type(told), str(told)) == (kind, str(error))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.facts) == (kind, str(error), error.facts)


@NAMED
def test_a_forgotten_fact_is_a_mistake_of_the_caller(kind: type[EdgeError]) -> None:
    for name in kind.fact_names():
        with pytest.raises(TypeError, match=name):
            kind(**{key: value for key, value in facts(kind).items() if key != name})


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"code": "no.such-code", "facts": {}},
        {"code": "artifact.digest-mismatch"},
        {"code": "artifact.digest-mismatch", "facts": {}},
    ],
)
def test_an_error_that_this_version_does_not_know_is_none(plain: dict[str, Any]) -> None:
    assert error_from_plain(plain) is None


def test_a_fact_that_is_no_json_value_travels_as_text() -> None:
    kind = concrete_errors()[0]
    error = kind(**facts(kind), more={1, 2})
    assert error.to_plain()["facts"]["more"] == "{1, 2}"


def test_every_code_is_documented() -> None:
    """`python -m tests.contract.error_page --write` writes the page."""
    assert PAGE.read_text() == page()
    assert all(f"| `{kind.code}` |" in page() for kind in concrete_errors())
