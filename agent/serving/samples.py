"""How many samples one request may ask for.

The rule: a request keeps its model from all others while it runs, and is not ended half way. So it may ask for what the
measured curve says that the model does in `LONGEST_RUN_S`, whose tensors, in and out, are no more than what may wait
for the model; and always for one batch of the artifact's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from agent.contract.manifest import TensorSpec
    from agent.models import Model
    from agent.serving.pace import Curve
    from agent.serving.queue import Bounds

LONGEST_RUN_S = 10.0
"""What an agent that ends waits for answers under way, too."""
MOST_SAMPLES = 1 << 16
"""However quick the model: a curve of some dozen samples does not tell what a million take."""


def most_samples(model: Model, curve: Curve, bounds: Bounds) -> int:
    """Samples of one request, at most: a multiple of the artifact's own batch."""
    own = model.fixed_batch or 1
    in_time = int((LONGEST_RUN_S - curve.fixed_s) / curve.sample_s) if curve.sample_s > 0 else MOST_SAMPLES
    sample_bytes = _sample_bytes(model.inputs, model.input_dtypes)
    sample_bytes += _sample_bytes(model.outputs, model.output_dtypes)
    most = min(MOST_SAMPLES, in_time, bounds.size_bytes // max(1, sample_bytes))
    return max(own, most - most % own)


def _sample_bytes(specs: Sequence[TensorSpec], dtypes: Sequence[str]) -> int:
    """Bytes of one sample as clients see it; an axis of any length counts as 1."""
    return sum(
        math.prod(max(1, length) for length in spec.shape[1:]) * np.dtype(dtype).itemsize
        for spec, dtype in zip(specs, dtypes)  # noqa: B905 - one type per tensor
    )
