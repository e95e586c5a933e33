"""The networks that the tests convert, by every recipe, as edge itself makes them.

The rule: what these files do in an engine version is what a bundle would do there. They are the rows `recipes`, with
which the rows of operators have to agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import EdgeError
from agent.contract.manifest import ModelFormat
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact
from converters.recipe import built_in
from converters.run_set import store
from converters.source import SourceFormat

MODELS = Path(__file__).resolve().parents[2] / "tests" / "conversion" / "data"
NETWORKS = {
    "CNN": "digits.keras",
    "depthwise CNN": "digits_depthwise.keras",
    "ResNet": "digits_resnet.keras",
    "LSTM": "rows_lstm.keras",
    "GRU": "rows_gru.keras",
    "transformer": "rows_attention.keras",
}
CALIBRATING = 64


@dataclass(frozen=True, kw_only=True)
class Made:
    """An artifact.

    Attributes:
        network, recipe: what was made how.
        artifact: it.
        inputs: one array an input, stored as the artifact's tensors are.
    """

    network: str
    recipe: str
    artifact: Artifact
    inputs: tuple[NDArray[Any], ...]


def artifacts(kind: ModelFormat, folder: Path, tell: Callable[[str], None]) -> Iterator[Made]:
    """Every network by every recipe of a format, without those that edge refuses to make."""
    from converters.keras_model import KerasModel

    names = [
        name
        for name, recipe in built_in().items()
        if recipe.converts and (recipe.tflite if kind is ModelFormat.TFLITE else recipe.onnx)
    ]
    for network, file in NETWORKS.items():
        model = KerasModel(MODELS / file, SourceFormat.KERAS, _unmeasured)
        shape = [length if length > 0 else CALIBRATING for length in model.inputs[0].shape]
        x = np.random.default_rng(0).random([CALIBRATING, *shape[1:]], dtype=np.float32)
        data = Data(path=Path("made-up"), sha256=file, inputs=(x,))
        for name in names:
            place = folder / Path(file).stem
            place.mkdir(parents=True, exist_ok=True)
            target = Target(f"{kind.value}-{name}", kind, built_in()[name], "x86_64")
            try:
                artifact = model.convert(target, data, place, _unmeasured)
            except EdgeError as error:
                tell(f"{network} by {name}: {error}")
                continue
            inputs = tuple(store(x[:1], spec) for spec in artifact.inputs)
            yield Made(network=network, recipe=name, artifact=artifact, inputs=inputs)


@contextlib.contextmanager
def _unmeasured(name: str, target: str | None = None) -> Iterator[None]:
    yield
