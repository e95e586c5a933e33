"""What tests of runtimes share: the machine's own cache of wheels, and platforms to compose for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.contract.manifest import EngineName
from edge.config import cache_dir
from edge.progress import Silent
from edge.runtimes import Composed, RuntimeRequest, compose
from edge.runtimes.fetch import fetch_wheels
from edge.runtimes.lockfile import read_lock
from tests.beds.fixtures import arm64_root, beds_swept

__all__ = ["arm64_root", "beds_swept"]

BOOKWORM = RuntimeRequest(
    architecture="aarch64", python="3.11", glibc="2.36", page_size_bytes=16384, engine=EngineName.LITERT
)
"""A Raspberry Pi 5 with the system of 2023."""


@pytest.fixture(scope="session")
def bookworm() -> Composed:
    """A runtime for a board, composed once; wheels come from this machine's cache or its pip."""
    return compose(BOOKWORM)


@pytest.fixture(scope="session")
def elsewhere(bookworm: Composed, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Composed]:
    """The same runtime composed in another cache, which held its wheels and nothing else, without a network."""
    cache = tmp_path_factory.mktemp("elsewhere")
    for wheel, path in fetch_wheels(read_lock(BOOKWORM.lock), BOOKWORM, cache_dir(), Silent()).items():
        target = cache / "wheels" / wheel.sha256 / path.name
        target.parent.mkdir(parents=True)
        shutil.copyfile(path, target)
    with pytest.MonkeyPatch.context() as patch:
        unplug(patch)
        return cache, compose(BOOKWORM, cache)


@pytest.fixture
def warm_cache(elsewhere: tuple[Path, Composed], tmp_path: Path) -> Path:
    """A cache of the test's own that holds all that `BOOKWORM` needs."""
    return shutil.copytree(elsewhere[0], tmp_path / "cache")


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and from then on pip finds nothing anywhere."""
    return lambda: unplug(monkeypatch)


def unplug(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("PIP_CONFIG_FILE", os.devnull)
    patch.setenv("PIP_NO_INDEX", "1")
    patch.delenv("PIP_FIND_LINKS", raising=False)
