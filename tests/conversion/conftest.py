"""A cache of the tests' own, and `--record-cells`: what the cells' tests found goes into
`docs/measured/converters.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conversion import cells


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache that edge takes in these tests, empty at first."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Iterator[Callable[[cells.Cell, cells.Figures], None]]:
    """Called by each cell's test with what it found."""
    found: dict[cells.Cell, cells.Figures] = {}
    yield found.__setitem__
    if request.config.getoption("--record-cells") and found:
        cells.write(found)
