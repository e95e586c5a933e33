"""A downloaded model and no data: one command, and the same command again does nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.journeys.boards import SimBoard
from tests.journeys.bundles import MODELS, digits
from tests.journeys.conftest import MakeLaptop

pytestmark = pytest.mark.bed


@pytest.mark.timeout(300)
def test_a_model_file_is_flashed_as_it_is_and_once(new_laptop: MakeLaptop, tmp_path: Path) -> None:
    laptop = new_laptop()
    try:
        board = SimBoard.take(laptop, 1)
        first = laptop.does("flash", board.name, str(MODELS / "digits.onnx"), seconds=250)
        assert "recipe as-is, golden set: 128 sanity" in first.err
        samples, truths = digits()
        np.save(tmp_path / "one.npy", samples[1])
        answered = laptop.does("infer", board.name, str(tmp_path / "one.npy"), "--json").json
        assert answered["answers"][0]["label"] == str(truths[1])

        again = laptop.does("flash", board.name, str(MODELS / "digits.onnx"))
        assert "nothing to do" in again.err
        assert len(laptop.does("repo", "releases", "--json").json) == 1
    finally:
        laptop.does("sim", "down", "--wipe")
