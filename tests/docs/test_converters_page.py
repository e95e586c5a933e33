"""The matrix of conversions in the documentation: nothing is left out, and every number was measured by a test."""

from __future__ import annotations

import pytest

from agent.contract.manifest import ModelFormat
from converters.routes import ROUTES
from converters.source import SourceFormat
from tests.conversion.cells import NETWORKS, Cell, Figures, cells, read


@pytest.fixture(scope="module")
def measured() -> dict[Cell, Figures]:
    return dict(read())


def test_every_cell_was_measured_or_refused_with_its_reason(measured: dict[Cell, Figures]) -> None:
    assert list(measured) == list(cells())


def test_what_is_recorded_is_figures_or_a_reason_and_of_a_cell(measured: dict[Cell, Figures]) -> None:
    assert set(measured) <= set(cells())
    for cell, found in measured.items():
        numbers = (found.float_accuracy, found.accuracy, found.size_bytes)
        assert all(numbers) if not found.reason else numbers == (None, None, None), cell


def test_every_way_that_there_is_or_is_not_has_cells() -> None:
    assert {(cell.source, cell.format) for cell in cells()} == set(ROUTES)


def test_what_has_a_way_is_made_of_at_least_one_network_and_what_has_none_of_none(
    measured: dict[Cell, Figures],
) -> None:
    made = {(cell.source, cell.format) for cell, found in measured.items() if not found.reason}

    assert made == {way for way, route in ROUTES.items() if not route.reason}


@pytest.mark.parametrize("network", NETWORKS)
def test_keras_becomes_both_formats_of_every_network(measured: dict[Cell, Figures], network: str) -> None:
    for kind in (ModelFormat.TFLITE, ModelFormat.ONNX):
        for recipe in ("fp32", "int8"):
            assert measured[Cell(SourceFormat.KERAS, network, kind, recipe)].accuracy, (kind, recipe)


def test_no_reason_names_a_file_of_the_machine_that_measured(measured: dict[Cell, Figures]) -> None:
    reasons = {found.reason for found in measured.values()}

    assert not [reason for reason in reasons if "/tmp" in reason or "pytest-" in reason]
