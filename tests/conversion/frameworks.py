"""The real environments of frameworks, for tests: made once, in the user's own cache, and kept for the next run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import FrameworkFailed
from converters.frameworks.environment import Environment, make
from converters.frameworks.pins import find
from edge.config import cache_dir
from tests.conversion.digits import digits

ROOT = cache_dir() / "frameworks"
"""Found before any test names another cache."""


def environment(name: str, log: Path) -> Environment:
    """The environment of a framework; a test that needs one that can't be made here is skipped."""
    try:
        return make(find(name), ROOT, log=log)
    except FrameworkFailed as error:
        pytest.skip(str(error))


def link(cache: Path) -> None:
    """Let a cache of a test's own hold the environments all the same."""
    ROOT.mkdir(parents=True, exist_ok=True)
    (cache / "frameworks").symlink_to(ROOT, target_is_directory=True)


def saved_by(name: str, script: str, folder: Path, shape: tuple[int, ...]) -> Path:
    """A folder of models that a script beside this file trained in the environment of a framework."""
    x, y = digits()
    np.savez(folder / "digits.npz", x=x[:700].reshape(-1, *shape), y=y[:700])
    done = subprocess.run(
        [
            str(environment(name, folder / "log").python),
            "-I",
            str(Path(__file__).parent / script),
            str(folder / "digits.npz"),
            str(folder),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def write_shaped(folder: Path, shape: tuple[int, ...]) -> None:
    """`calibration.npz` and `held-out.npz` with samples of another shape."""
    x, y = digits()
    x = x.reshape(-1, *shape)
    np.savez(folder / "calibration.npz", x=x[700:897])
    np.savez(folder / "held-out.npz", x=x[897:], y=y[897:])
