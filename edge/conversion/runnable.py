"""Whether the engine version that a profile's boards run can run an artifact, and whether it answers with numbers.

The rule: what was measured of that version decides, whatever the file's own stamp says, and before the artifact is run
anywhere. Boards of a profile that states no version run one of several, by their Python: all of them have to run it.
What a profile says of opset and IR only lowers what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import EngineName
from agent.contract.profile import DeviceProfile
from converters.capability.measured import Use, engine
from converters.job import Converted
from edge.runtimes.lockfile import engine_versions

NAMED = 3


def check_runnable(profile: DeviceProfile, converted: Converted, model: Path) -> None:
    """Check an artifact for a profile.

    Raises:
        ModelUnsupported: its boards can't run it; the reason names the operators.
    """
    reason = next(_reasons(profile, converted), None)
    if reason is not None:
        raise ModelUnsupported(
            path=model,
            target=f"an artifact for `{profile.name}`",
            reason=reason,
            way_out="convert it with another recipe, or take boards with another engine or a newer version of it"
            " (`engine_version` of their profile)",
        )


def check_finite(profile: DeviceProfile, outputs: Sequence[NDArray[Any]], model: Path) -> None:
    """Check the answers of an artifact's proof run.

    Raises:
        ModelUnsupported: some are NaN or infinity.
    """
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in outputs):
        raise ModelUnsupported(
            path=model,
            target=f"an artifact for `{profile.name}`",
            reason="the artifact answers with NaN or infinity",
            way_out="try another recipe",
        )


def _reasons(profile: DeviceProfile, converted: Converted) -> Iterator[str]:
    limits = {"opset": profile.newest_opset, "ir": profile.newest_ir}
    for use in converted.uses:
        if 0 < limits.get(use.name, 0) < use.version:
            yield f"it has {use}, and the profile takes {limits[use.name]} at most"
    if profile.engine is not EngineName.UNKNOWN:
        measured = engine(profile.engine)
        for version in engine_versions(profile, profile.engine):
            lacking = measured.lacking(version, converted.uses)
            if lacking:
                yield f"{measured.name} {version}, which its boards run, can't run {_named(lacking)}"
    if profile.engine.value not in converted.engines:
        yield f"{profile.engine.value} does not run it, only {', '.join(converted.engines) or 'none does'}"


def _named(lacking: tuple[Use, ...]) -> str:
    more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
    return f"{', '.join(str(use) for use in lacking[:NAMED])}{more}"
