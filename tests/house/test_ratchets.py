"""Two numbers that only get better: the length of a file, and how much of the tests is mocked."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.tree import ROOT, python_files, shown

LINES = 400
LONGER: dict[str, tuple[int, str]] = {
    # file: (lines it may have, why it isn't split)
    "agent/contract/errors/__init__.py": (460, "the list of all errors, each named twice, and nothing else"),
}
TESTS_PER_MOCK = 50
MOCKS = {"AsyncMock", "MagicMock", "Mock", "NonCallableMock", "PropertyMock", "create_autospec", "patch"}


def length(file: Path) -> int:
    return len(file.read_text().splitlines())


def test_no_file_is_longer_than_it_may_be() -> None:
    files = python_files("agent", "converters", "demo", "edge", "tests")
    limits = {name: lines for name, (lines, _) in LONGER.items()}
    too_long = {shown(file): length(file) for file in files if length(file) > limits.get(shown(file), LINES)}
    assert not too_long, "split it by the steps of the road"


def test_no_exception_outlives_its_reason() -> None:
    assert [name for name in LONGER if length(ROOT / name) <= LINES] == []


def mocks_and_tests(source: str) -> tuple[int, int]:
    mocks = tests = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            tests += node.name.startswith("test_")
        elif isinstance(node, ast.Call):
            parts = set(ast.unparse(node.func).split("."))
            mocks += bool(parts & MOCKS) or {"monkeypatch", "setattr"} <= parts
    return mocks, tests


def test_almost_nothing_is_mocked() -> None:
    counts = [mocks_and_tests(file.read_text()) for file in python_files("tests")]
    mocks, tests = (sum(column) for column in zip(*counts, strict=True))
    assert mocks * TESTS_PER_MOCK < tests


def test_a_mock_is_counted() -> None:
    source = (
        "def test_x(monkeypatch):\n mock.patch.object(a, 'b')\n Mock()\n monkeypatch.setattr(a, 'b', 1)\n"
    )
    assert mocks_and_tests(source) == (3, 1)
