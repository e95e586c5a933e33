"""From a trained model to proved bundles: converters joined with a measure function that is handed in."""

from __future__ import annotations

from edge.conversion.request import (
    ConversionOutcome,
    ConversionRequest,
    Drop,
    Measure,
    MeasureResult,
    ProfileResult,
)

__all__ = ["ConversionOutcome", "ConversionRequest", "Drop", "Measure", "MeasureResult", "ProfileResult"]
