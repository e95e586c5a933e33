"""`docs/silent-failures.md` names a test for each of them, and each is there."""

from __future__ import annotations

import ast
import re

from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "silent-failures.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_failure_has_a_test_that_is_there() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    unproved = [row[:60] for row in rows if not NAMED.search(row)]
    assert len(rows) > 20
    assert not unproved

    missing = []
    for file, name in NAMED.findall(PAGE.read_text()):
        tree = ast.parse((ROOT / file).read_text()) if (ROOT / file).exists() else ast.Module([], [])
        if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
            missing.append(f"{file}::{name}")
    assert not missing
