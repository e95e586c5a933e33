"""`docs/security.md` names tests that there are, and the mutations that are tried."""

from __future__ import annotations

import re

from tests.house.tree import ROOT, python_files
from tests.mutations.mutations import table

PAGE = (ROOT / "docs" / "security.md").read_text()
DEFINED = {
    name
    for file in python_files("tests")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE)
}


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 100
    assert named - DEFINED == set()


def test_every_file_of_tests_that_is_named_is_there() -> None:
    assert [path for path in re.findall(r"`(tests/[\w/]+\.py)`", PAGE) if not (ROOT / path).is_file()] == []


def test_the_mutations_are_those_that_are_tried() -> None:
    assert table() in PAGE, "write it anew: python -m tests.mutations --table"
