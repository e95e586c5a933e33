"""A model from elsewhere, and no data: converted as it is, tried on a sanity set, served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.journeys.boards import SimBoard
from tests.journeys.bundles import MODELS, digits
from tests.journeys.conftest import MakeLaptop

pytestmark = [pytest.mark.bed, pytest.mark.timeout(400)]  # a minute; the fast one is test_sim_model_file


@pytest.mark.parametrize(
    ("kind", "model"),
    [("tflite", "digits.tflite"), ("onnx", "digits.onnx")],
)
def test_a_model_without_data_is_flashed_as_it_is(
    new_laptop: MakeLaptop, tmp_path: Path, kind: str, model: str
) -> None:
    laptop = new_laptop()
    board = SimBoard.take(laptop, 1, kind=kind)
    try:
        flashed = laptop.does("flash", board.name, str(MODELS / model), seconds=250)
        assert "digits@1" in flashed.err
        reported = laptop.reported(board.name)
        assert (reported["state"], reported["current"]["models"][0]["release"]) == ("confirmed", "digits@1")
        check = reported["checks"][0]
        assert check["proof_within"] == 1.0
        assert check.get("agreement") is None, "random inputs say nothing of accuracy"
        assert board.manifest()["golden"]["origin"] == "sanity"
        assert board.manifest()["recipe"]["name"] == "as-is"
        samples, truths = digits()
        np.save(tmp_path / "one.npy", samples[1])
        answered = laptop.does("infer", board.name, str(tmp_path / "one.npy"), "--json").json
        assert answered["answers"][0]["index"] == truths[1]
        broken = laptop.folder / "broken.tflite"
        broken.write_bytes(b"no model")
        assert laptop.edge("flash", board.name, str(broken)).code in (1, 2)
        assert board.links() == {"current": 1}
    finally:
        laptop.does("sim", "down", "--wipe")
