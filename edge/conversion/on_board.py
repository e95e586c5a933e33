"""What a board says of an artifact, beside the proof run here.

The rule: a board that answers otherwise than the same engine here is a finding of its own, by the number that its
trial is judged by. Its times are its own, and what disturbed them is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import BoardAnswersOtherwise
from agent.contract.manifest import TensorSpec
from agent.contract.trial import PROOF_PART
from agent.transforms.agreement import proof_within
from converters.calibration.data import evenly
from converters.job import GOLDEN_SAMPLES
from edge.conversion.proof import Proof, prove
from edge.conversion.request import Measure, MeasureResult

Array = NDArray[Any]
NOW = 0xF
"""Of the firmware's flags: under-voltage, capped, throttled, soft temperature limit, each now."""
UNDISTURBED = 0.8
"""Part of a core that a run gets on a board with nothing else to do."""


def compared(
    measure: Measure,
    profile: str,
    bundle: Path,
    inputs: Sequence[Array],
    proof: Proof,
    specs: Sequence[TensorSpec],
) -> MeasureResult:
    """Run an artifact on a board, on as many samples as a golden set has, and compare its answers with the proof run's.

    Args:
        measure: of the board.
        profile: for sentences.
        bundle: folder of a bundle that holds the artifact.
        inputs: of the proof run, one array `[N, ...]` an input tensor, engine dtype.
        proof: the proof run.
        specs: of the output tensors.

    Raises:
        BoardAnswersOtherwise: too many of its output values are not those of the proof run.
        EdgeError: it does not run there, or the board could not be asked.
    """
    chosen = _samples(len(inputs[0]), max(1, *(spec.shape[0] for spec in specs if spec.shape)))
    there = prove(measure, bundle, [array[chosen] for array in inputs], outputs=len(specs))
    within = proof_within(there.outputs, [array[chosen] for array in proof.outputs], specs)
    if within < PROOF_PART:
        raise BoardAnswersOtherwise(
            profile=profile, board=there.title, proof=proof.title, within=within, needed=PROOF_PART
        )
    return there.result


def _samples(count: int, batch: int) -> NDArray[np.int64]:
    """Evenly chosen whole batches, as many samples as a golden set has."""
    batches = evenly(count // batch, max(1, GOLDEN_SAMPLES // batch))
    return (batches[:, None] * batch + np.arange(batch)).reshape(-1)


def doubts(board: MeasureResult) -> tuple[str, ...]:
    """What disturbed a board's times, one sentence each."""
    found = []
    if board.throttled is not None and int(board.throttled, 16) & NOW:
        found.append(
            f"{board.platform}: it was throttled or its supply too weak ({board.throttled}); its times are not its best"
        )
    if board.core_part is not None and board.core_part < UNDISTURBED:
        found.append(
            f"{board.platform}: the engine got {board.core_part:.0%} of a core beside what serves there;"
            " its times are those of a busy board"
        )
    return tuple(found)
