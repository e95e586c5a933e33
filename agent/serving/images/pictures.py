"""From a picture's bytes to a sample of a model, by the release's own steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from agent.contract.errors import RequestInvalid
from agent.transforms.answers import check_postprocessing
from agent.transforms.images import is_picture
from agent.transforms.inputs import Sample, read_sample
from agent.transforms.pipeline import check_steps

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served
    from agent.serving.tensors import Array

MOST_PICTURES = 32
"""Of one request, where it may hold several: each may take a tenth of a second to decode."""

_CHECKED: WeakSet[Model] = WeakSet()


def picture_sample(model: Model, data: bytes) -> Sample:
    """The sample in a picture, or in a `.npy` file. See `read_sample`."""
    manifest = model.bundle.manifest
    if model not in _CHECKED:
        check_steps(manifest.preprocessing)
        check_postprocessing(manifest.task, manifest.postprocessing)
        _CHECKED.add(model)
    return read_sample(data, manifest)


def picture_batch(served: Served, model: Model, files: Sequence[bytes]) -> Array | None:
    """The batch of these pictures, one sample each; None where the first is none, by its beginning.

    Raises:
        RequestInvalid: they are too many, or what they become has not the input's shape.
        ImageError: see `read_sample`.
    """
    if not is_picture(files[0]):
        return None
    if len(files) > MOST_PICTURES:
        raise RequestInvalid(
            reason=f"the request holds {len(files)} pictures: at most {MOST_PICTURES} are decoded for one",
            status=413,
        )
    served.check_samples(len(files))
    return np.concatenate([picture_sample(model, file).array for file in files])
