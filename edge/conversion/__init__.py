"""From a trained model to proved bundles: converters joined with a measure function that is handed in.

request      what is asked for, and what comes of it
given        what the user gave, checked
convert      from beginning to end
proof        the artifact in the board's exact engine version
on_board     the same on a board, compared with the proof
compare      two artifacts layer by layer
judgement    from answers to a verdict
pipeline_file  what the user declares of that, and of what outputs mean
package      the bundle
report       what lies in it as `report.json`
"""

from __future__ import annotations

from edge.conversion.convert import convert
from edge.conversion.proof import proof_measure
from edge.conversion.request import (
    ConversionOutcome,
    ConversionRequest,
    Drop,
    Measure,
    MeasureResult,
    ProfileResult,
)

__all__ = [
    "ConversionOutcome",
    "ConversionRequest",
    "Drop",
    "Measure",
    "MeasureResult",
    "ProfileResult",
    "convert",
    "proof_measure",
]
