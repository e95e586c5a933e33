"""Runs mutations, each in a copy of the tree of its own.

The rule: a mutation is killed when its named test fails with it, and passes without it; one that changes nothing, or
whose test can't be collected, is an error of the list and no kill.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.house.tree import ROOT
from tests.mutations.mutations import Mutation

COPIED = ("agent", "converters", "device_profiles", "edge", "tests", "pyproject.toml", "Makefile")
TIMEOUT_S = 900.0
_NO_BYTECODE = shutil.ignore_patterns("__pycache__", ".venv", "*.egg-info", "dist", "build")
_PASSED, _FAILED = 0, 1
"""pytest's own exit codes."""


class Outcome(StrEnum):
    """What became of a mutation."""

    KILLED = "killed"
    SURVIVED = "survived"
    UNFIT = "unfit"
    """Its test does not pass without it, or can't run."""


@dataclass(frozen=True)
class Result:
    """One mutation, tried: how it ended, how long that took in seconds, and what the test said."""

    mutation: Mutation
    outcome: Outcome
    took_s: float
    talk: str = ""


def unfit(mutation: Mutation) -> str | None:
    """Why the list is wrong about a mutation, or None: what it changes must be there, once."""
    found = (ROOT / mutation.file).read_text().count(mutation.before)
    if found != 1:
        return f"{mutation.file} holds what is to be changed {found} times"
    file, _, name = mutation.test.partition("::")
    path = ROOT / file
    if not path.is_file() or f"def {name.partition('[')[0]}(" not in path.read_text():
        return f"there is no test {mutation.test}"
    return None


def tried(mutations: Iterable[Mutation]) -> Iterator[Result]:
    """Try each. A test is run once without any mutation before it counts."""
    good: dict[str, bool] = {}
    for mutation in mutations:
        began = time.monotonic()
        if why := unfit(mutation):
            yield Result(mutation, Outcome.UNFIT, 0.0, why)
            continue
        if mutation.test not in good:
            with _copy() as tree:
                code, talk = _run(mutation.test, tree)
            good[mutation.test] = code == _PASSED
            if code != _PASSED:
                yield Result(mutation, Outcome.UNFIT, time.monotonic() - began, talk)
                continue
        elif not good[mutation.test]:
            yield Result(mutation, Outcome.UNFIT, 0.0, "its test does not pass without it")
            continue
        yield _mutated(mutation)


def _mutated(mutation: Mutation) -> Result:
    began = time.monotonic()
    with _copy() as tree:
        file = tree / mutation.file
        file.write_text(file.read_text().replace(mutation.before, mutation.after))
        code, talk = _run(mutation.test, tree)
    outcome = {_PASSED: Outcome.SURVIVED, _FAILED: Outcome.KILLED}.get(code, Outcome.UNFIT)
    return Result(mutation, outcome, time.monotonic() - began, talk)


@contextmanager
def _copy() -> Iterator[Path]:
    with TemporaryDirectory(prefix="edge-mutation-") as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=_NO_BYTECODE)
            else:
                shutil.copy(source, tree / name)
        yield tree


def _run(test: str, tree: Path) -> tuple[int, str]:
    """pytest's exit code for one test in a tree, and the end of what it printed. A test that hangs has failed."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    process = subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        talk, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        talk, _ = process.communicate()
        return _FAILED, talk[-2000:]
    return process.returncode, talk[-2000:]
