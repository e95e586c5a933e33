"""What holds for every test.

`--require-real` lets nothing be skipped; `EDGE_TEST_MODELS` names a folder of published models and data.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.load_profile("ci")  # the same examples everywhere, not measured by a busy machine's clock


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-real",
        action="store_true",
        help="a test that would be skipped because something real is missing fails instead",
    )
    parser.addoption(
        "--power-cuts",
        type=int,
        default=3,
        help="how often the emulated board is cut from power in an update: 2 to 6 minutes each (default 3)",
    )
    parser.addoption(
        "--record-cells",
        action="store_true",
        help="what the tests of conversions measure goes into docs/measured/converters.json",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole roads first: they take longest, and at the end the other workers would wait for them."""
    items.sort(key=lambda item: "/journeys/" not in item.nodeid)


def _refuse_skip(config: pytest.Config, report: Any) -> None:
    if not config.getoption("--require-real") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"--require-real: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(collector.config, report)
    return report


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of published models; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("EDGE_TEST_MODELS")
    if not folder:
        pytest.skip("EDGE_TEST_MODELS names no folder of published models")
    return Path(folder)
