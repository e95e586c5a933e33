"""A small fleet folder, as the repository's own tests make it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.backup import age
from tests.repository.conftest import fleet, made_once

__all__ = ["fleet", "made_once"]


@pytest.fixture(scope="session", autouse=True)
def quick_guesses() -> Iterator[None]:
    """Passphrases are opened often here, and what a guess costs is not what is looked at."""
    usual = age.LOG_N
    age.LOG_N = 4
    yield
    age.LOG_N = usual
