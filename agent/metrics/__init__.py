"""What the models and the board did, in numbers."""

from agent.metrics.counters import ABANDONED, ModelMetrics, ModelSample
from agent.metrics.exposition import Exposition, expose_board, expose_models

__all__ = [
    "ABANDONED",
    "Exposition",
    "ModelMetrics",
    "ModelSample",
    "expose_board",
    "expose_models",
]
