"""`--require-real` (in `make test-all`) turns each skip into a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

CALL = """
import pytest

def test_it():
    pytest.skip('no board')
"""
MARK = """
import pytest

@pytest.mark.skipif(True, reason='no board')
def test_it():
    pass
"""
FIXTURE = """
import pytest

@pytest.fixture
def board():
    pytest.skip('no board')

def test_it(board):
    pass
"""
MODULE = """
import pytest

pytest.skip('no board', allow_module_level=True)
"""
EXPECTED_FAILURE = """
import pytest

@pytest.mark.xfail
def test_it():
    assert False
"""


def outcome(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    pytest_here = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", folder / "none.ini"]
    run = [*pytest_here, *options, folder]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("skipping", [CALL, MARK, FIXTURE, MODULE], ids=["call", "mark", "fixture", "module"])
def test_a_skip_fails_where_the_real_thing_is_required(skipping: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "none.ini").write_text("[pytest]\n")
    (tmp_path / "test_skipping.py").write_text(skipping)
    assert "1 skipped" in outcome(tmp_path).stdout
    required = outcome(tmp_path, "--require-real")
    assert required.returncode not in (0, 5)
    assert "--require-real: " in required.stdout
    assert "no board" in required.stdout


def test_an_expected_failure_stays_one(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "none.ini").write_text("[pytest]\n")
    (tmp_path / "test_known.py").write_text(EXPECTED_FAILURE)
    required = outcome(tmp_path, "--require-real")
    assert required.returncode == 0, required.stdout
    assert "1 xfailed" in required.stdout
