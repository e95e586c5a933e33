"""The contract both sides agree on: standard library, no input or output, no clock, no chance."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.tree import ROOT, shown

ALLOWED = {
    "__future__", "base64", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "enum",
    "functools", "hashlib", "ipaddress", "itertools", "json", "math", "operator", "re", "string", "struct", "types",
    "typing", "urllib.parse",
}  # fmt: skip
SEEDED = "from random import Random"
"""Numbers that follow from a seed are pure."""
REFUSED_CALLS = {"open", "print", "input", "eval", "exec", "compile", "breakpoint", "__import__"}
REFUSED_METHODS = {
    "now",
    "today",
    "utcnow",
}  # the clock's ways into datetime; `file_digest` needs a file anyway


def impurities(source: str) -> Iterator[str]:
    """What a module of the contract may not do, line by line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if ast.unparse(node) == SEEDED:
                continue
            names = [node.module or "."]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSED_CALLS:
            yield f"line {node.lineno}: {node.func.id}()"
            continue
        elif isinstance(node, ast.Attribute) and node.attr in REFUSED_METHODS:
            yield f"line {node.lineno}: .{node.attr}"
            continue
        else:
            continue
        for name in names:
            if name not in ALLOWED and name.split(".")[:2] != ["agent", "contract"]:
                yield f"line {node.lineno}: import {name}"


def test_every_module_of_the_contract_is_pure() -> None:
    modules = sorted((ROOT / "agent" / "contract").rglob("*.py"))
    assert modules
    found = [
        f"{shown(module)} {impurity}" for module in modules for impurity in impurities(module.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "import os", "import os.path", "from pathlib import Path", "import time", "import socket",
        "import subprocess", "import logging", "import random", "import secrets", "import numpy",
        "from agent import system", "import agent.system", "def f():\n    import time",
        "open('x')", "print('x')",
        "import datetime\ndatetime.datetime.now()", "from datetime import date\ndate.today()",
    ],
)  # fmt: skip
def test_an_impurity_is_found(line: str) -> None:
    assert list(impurities(line))
