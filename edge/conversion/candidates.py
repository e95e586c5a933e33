"""What is to be made for a profile: one recipe that was named, or by `auto` every candidate.

The rule: what can't be made is said with its reason and costs the others nothing; a request of which nothing can be
made is refused before anything is started. All candidates of all profiles go into one job.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.contract.errors import CalibrationMissing, EdgeError, ModelUnsupported
from agent.contract.manifest import ModelFormat
from agent.contract.profile import DeviceProfile
from converters import recipe as recipes
from converters.job import Target
from converters.recipe import AUTO, Recipe
from edge.conversion.given import Given
from edge.conversion.request import ConversionRequest

CANDIDATES = {
    ModelFormat.TFLITE: (
        "as-is", "fp32", "fp16", "int8-dynamic", "int8", "int16x8", "int8-int4", "int4", "int4-block32",
    ),
    ModelFormat.ONNX: ("as-is", "fp32", "fp16", "int8-dynamic", "int8", "int8-tensor", "int4"),
}  # fmt: skip
"""`int8-float-io` and `int8-tensorrt` are for those who need them: they differ in what surrounds the model."""
UNQUANTIZED = ("as-is", "fp32")
"""All that is offered where there are no data at all, because nothing could tell what the others cost."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to convert for a profile.

    Attributes:
        recipe: how.
        target: what the job makes; None where it can't.
        error: why not.
    """

    recipe: Recipe
    target: Target | None = None
    error: EdgeError | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done for one profile.

    Attributes:
        profile: the kind of board.
        candidates: at least one.
        searched: the user left the choice to edge.
    """

    profile: DeviceProfile
    candidates: tuple[Candidate, ...]
    searched: bool = False

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the job has to make."""
        return tuple(candidate.target for candidate in self.candidates if candidate.target is not None)


def plan(request: ConversionRequest, given: Given, profile: DeviceProfile) -> Plan:
    """The plan for a profile.

    Raises:
        RecipeUnknown, RecipeInvalid: the recipe that was named.
        CalibrationMissing: it needs data and none were given.
    """
    if request.recipe != AUTO:
        recipe = recipes.find(request.recipe)
        return Plan(profile=profile, candidates=(_candidate(request, given, profile, recipe),))
    names = CANDIDATES[profile.format]
    if given.source.value != profile.format.value:
        names = tuple(name for name in names if name != "as-is")
    if request.calibration is None and request.evaluation is None:
        names = tuple(name for name in names if name in UNQUANTIZED)
    found = []
    for name in names:
        recipe = recipes.built_in()[name]
        try:
            found.append(_candidate(request, given, profile, recipe))
        except CalibrationMissing as error:
            found.append(Candidate(recipe=recipe, error=error))
    return Plan(profile=profile, candidates=tuple(found), searched=True)


def _candidate(request: ConversionRequest, given: Given, profile: DeviceProfile, recipe: Recipe) -> Candidate:
    try:
        recipes.check(
            recipe,
            path=request.model,
            source=given.source,
            target=profile.format,
            calibrated=request.calibration is not None,
        )
    except ModelUnsupported as error:
        return Candidate(recipe=recipe, error=error)
    typed = recipe.converts and recipe.scheme(profile.format).activations == "board"
    limits = {"opset": profile.newest_opset, "ir": profile.newest_ir}
    key = "-".join(
        [
            profile.format.value,
            recipe.name,
            *([profile.architecture] if typed else []),
            *(f"{name}{newest}" for name, newest in limits.items() if newest),
        ]
    )
    target = Target(
        key=key,
        format=profile.format,
        recipe=recipe,
        architecture=profile.architecture,
        newest_opset=profile.newest_opset,
        newest_ir=profile.newest_ir,
    )
    return Candidate(recipe=recipe, target=target)
