"""The ladder that a calibrated artifact climbs where it misses its budget: the same rungs for both formats.

The rule: a rung is a change of the recipe's scheme, so that whatever is made at its end is a recipe again, which is
written into the bundle. The rungs in their order: a scale a channel; cross-layer equalization, then bias correction
with it; other ways to find the activations' ranges; layers that stay float, those first that lose most when they
alone are quantized, and never more than a third of them, because more would be no quantized model. What has no 8-bit
activations that are calibrated has the repairs of weights alone. At last, where the calibration data have labels and
the model can be trained here, its weights are: what comes of that is no longer quite the model that was given.

The climb begins where the best estimate lies over the budget and ends where the whole interval lies within; the rungs
that take long are tried only while the estimate is over it, and the best of all is taken. The samples that judge are
the same on every rung, so that a verdict on a high one is a little too kind: the report says how many were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from agent.contract.errors import EdgeError
from agent.contract.manifest import ModelFormat
from converters.contract import LayerLoss, Rung
from converters.job import Target
from converters.metrics.compare import Comparison
from converters.metrics.scores import sqnr_db
from converters.models import Artifact
from converters.recipe import BIAS, EQUALIZATION, FINE_TUNING, Scheme
from converters.repair.layers import quantized_layers
from converters.statistics import WITHIN

Arrays = Sequence[NDArray[Any]]
METHODS = {ModelFormat.ONNX: ("min-max", "entropy", "percentile"), ModelFormat.TFLITE: ("min-max",)}
"""Ways to find ranges that the quantizers of a format have."""
MOST_FLOAT = 3
"""At most every third layer stays float."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What a ladder is climbed with.

    Attributes:
        make: makes an artifact of a target.
        judge: compares an artifact's answers to the judged samples with the original's.
        probe: an artifact's answers to a few samples, real numbers.
        expected: the original's answers to these.
        budget_points: that may be lost.
        learns: the model can be trained, and there are samples to do so.
    """

    make: Callable[[Target], Artifact]
    judge: Callable[[Artifact], Comparison]
    probe: Callable[[Artifact], Arrays]
    expected: Arrays
    budget_points: float
    learns: bool = False


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """Where a ladder ended.

    Attributes:
        target: what the artifact was made of: its recipe may have other numbers than the one that was asked for.
        artifact: the best that was made.
        rungs: all that were tried, the given recipe first.
        layers: what each layer loses, the worst first; empty where it was not needed to know.
    """

    target: Target
    artifact: Artifact
    rungs: tuple[Rung, ...]
    layers: tuple[LayerLoss, ...] = ()

    @property
    def repairs(self) -> dict[str, Any]:
        """What was changed of the recipe, as data; empty where it is as it was asked for."""
        scheme = self.target.recipe.scheme(self.target.format)
        found = {"repairs": list(scheme.repairs), "keep_float": list(scheme.keep_float)}
        return {name: value for name, value in found.items() if value}


def repairable(scheme: Scheme) -> bool:
    """Whether the ladder has rungs for it: weights of few bits."""
    return scheme.weights in ("int8", "int4")


def has_all_rungs(scheme: Scheme) -> bool:
    """Whether more than the weights can be repaired: 8-bit weights with calibrated 8-bit activations."""
    return scheme.calibrated and scheme.weights == "int8" and scheme.activations != "int16"


class Ladder:
    """One climb."""

    def __init__(self, target: Target, steps: Steps) -> None:
        self.given, self.steps = target, steps
        self.best: tuple[float, Target, Artifact] | None = None
        self.rungs: list[Rung] = []
        self.layers: tuple[LayerLoss, ...] = ()

    def climb(self) -> Climbed:
        """Make the artifact as the recipe says; where it misses its budget, repair it.

        Raises:
            EdgeError: the recipe itself can't be made.
        """
        artifact, comparison = self._try("as the recipe says", self.given)
        self.rungs.append(_rung("as the recipe says", comparison))
        if comparison.misses(self.steps.budget_points):
            self._repair()
        assert self.best is not None, "the first rung was made"
        _, target, artifact = self.best
        return Climbed(target=target, artifact=artifact, rungs=tuple(self.rungs), layers=self.layers)

    def _repair(self) -> None:
        for name, scheme in self._changes():
            target = self._target(scheme, str(len(self.rungs)))
            try:
                _, comparison = self._try(name, target)
            except EdgeError as error:  # one that can't be made here, such as a method that a quantizer lacks
                self.rungs.append(Rung(name=name, reason=str(error)))
                continue
            self.rungs.append(_rung(name, comparison))
            if comparison.verdict(self.steps.budget_points) == WITHIN:
                return

    def _changes(self) -> Iterator[tuple[str, Scheme]]:
        """The rungs above the first, each a change of the best one so far where that makes sense."""
        scheme = _requantized(self._scheme(self.given), self.given.format)
        if scheme.granularity == "tensor":
            scheme = replace(scheme, granularity="channel")
            yield "a scale a channel", scheme
        yield EQUALIZATION, replace(scheme, repairs=(EQUALIZATION,))
        if scheme.weights == "int8":  # how 4-bit weights will be rounded is not known beforehand
            yield f"{EQUALIZATION}, {BIAS}", replace(scheme, repairs=(EQUALIZATION, BIAS))
        if not self._near() and has_all_rungs(scheme):
            yield from self._long_changes()
        if not self._near() and self.steps.learns:
            yield FINE_TUNING, replace(scheme, repairs=(FINE_TUNING,))

    def _long_changes(self) -> Iterator[tuple[str, Scheme]]:
        """Those of what has calibrated 8-bit activations."""
        scheme = _requantized(self._best_scheme(), self.given.format)
        for method in METHODS[self.given.format]:
            if method != scheme.calibration:
                yield f"calibration by {method}", replace(scheme, calibration=method)
        if self._near():
            return
        scheme = _requantized(self._best_scheme(), self.given.format)
        self.layers = self.sensitivity(scheme)
        count = 1
        while count <= len(self.layers) // MOST_FLOAT:
            names = tuple(layer.name for layer in self.layers[:count])
            yield f"{count} layer{'s' if count > 1 else ''} left in float", replace(scheme, keep_float=names)
            if self._near():
                return
            count *= 2

    def _near(self) -> bool:
        """The best estimate so far lies within the budget."""
        return self.best is not None and self.best[0] <= self.steps.budget_points

    def sensitivity(self, scheme: Scheme) -> tuple[LayerLoss, ...]:
        """SQNR of the model's outputs with each layer quantized alone, the worst first."""
        assert self.best is not None, "the first rung was made"
        kinds = quantized_layers(self.best[2].path, self.given.format)
        found = []
        for index, (name, kind) in enumerate(kinds.items()):
            others = tuple(other for other in kinds if other != name)
            target = self._target(replace(scheme, keep_float=others), f"alone-{index}")
            try:
                artifact = self.steps.make(target)
                answers = self.steps.probe(artifact)
                artifact.path.unlink()
            except EdgeError as error:
                found.append(LayerLoss(name=name, kind=kind, sqnr_db=None, reason=str(error)))
                continue
            noise = min(sqnr_db(one, other) for one, other in zip(answers, self.steps.expected, strict=True))
            found.append(LayerLoss(name=name, kind=kind, sqnr_db=round(noise, 2)))
        return tuple(sorted(found, key=lambda layer: (layer.sqnr_db is None, layer.sqnr_db or 0.0)))

    def _try(self, name: str, target: Target) -> tuple[Artifact, Comparison]:
        artifact = self.steps.make(target)
        comparison = self.steps.judge(artifact)
        if self.best is None or comparison.drop_points < self.best[0]:
            self.best = (comparison.drop_points, target, artifact)
        return artifact, comparison

    def _scheme(self, target: Target) -> Scheme:
        return target.recipe.scheme(target.format)

    def _best_scheme(self) -> Scheme:
        assert self.best is not None, "the first rung was made"
        return self._scheme(self.best[1])

    def _target(self, scheme: Scheme, name: str) -> Target:
        """The given target with another scheme."""
        recipe = self.given.recipe
        onnx = self.given.format is ModelFormat.ONNX
        recipe = replace(recipe, onnx=scheme) if onnx else replace(recipe, tflite=scheme)
        return replace(self.given, key=f"{self.given.key}~{name}", recipe=recipe)


def _requantized(scheme: Scheme, kind: ModelFormat) -> Scheme:
    """In TFLite, repairs are done to the float file, from which AI Edge Quantizer goes on."""
    return replace(scheme, quantizer="ai-edge-quantizer") if kind is ModelFormat.TFLITE else scheme


def _rung(name: str, comparison: Comparison) -> Rung:
    return Rung(
        name=name,
        drop_points=comparison.drop_points,
        low=comparison.low,
        high=comparison.high,
    )
