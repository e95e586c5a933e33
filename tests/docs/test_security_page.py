"""`docs/security.md` shows the mutations that are tried."""

from __future__ import annotations

from tests.house.tree import ROOT
from tests.mutations.mutations import table


def test_the_mutations_are_those_that_are_tried() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    assert table() in page, "write it anew: python -m tests.mutations --table"
