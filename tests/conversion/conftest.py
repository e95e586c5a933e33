"""`--record-cells`: what the cells' tests found goes into `docs/measured/converters.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conversion import cells


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Iterator[Callable[[cells.Cell, cells.Figures], None]]:
    """Called by each cell's test with what it found."""
    found: dict[cells.Cell, cells.Figures] = {}
    yield found.__setitem__
    if request.config.getoption("--record-cells") and found:
        cells.write(found)
