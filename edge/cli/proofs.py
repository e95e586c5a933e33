"""Where the artifacts of a conversion are run: proof environments here, and boards that were named."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from edge.cli import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import EngineName
    from agent.contract.profile import DeviceProfile
    from edge.conversion import Measure
    from edge.conversion.convert import MeasureFor
    from edge.rollouts.measuring import BoardMeasure
    from edge.runtimes.proof import ProofEnvironment


def measures_on(
    names: tuple[str, ...], profiles: tuple[DeviceProfile, ...], progress: output.Steps
) -> Mapping[str, BoardMeasure]:
    """The measure functions of the boards that were named, by profile; a board that runs another version of the engine
    than the next flash brings is told of.

    Raises:
        FleetFolderMissing: boards are named, and this is no fleet folder.
        as `boards_for`.
    """
    if not names:
        return {}
    from edge.cli.passphrase import asker
    from edge.rollouts.measuring import boards_for
    from edge.rollouts.workspace import Workspace
    from edge.runtimes.lockfile import engine_versions

    found = boards_for(Workspace.find(asker()), names, profiles, progress)
    for profile in profiles:
        board = found.get(profile.name)
        there = engine_versions(profile, profile.engine)
        if board is not None and board.runtime.version not in there:
            output.line(
                "note",
                f"{board.name} runs {board.runtime.engine} {board.runtime.version}; flashed again it runs"
                f" {' or '.join(there) or 'none'}: what is measured now is said of what it runs now",
            )
    return found


def measure_for(progress: output.Steps, boards: Mapping[str, BoardMeasure] | None = None) -> MeasureFor:
    """A function from profile to the measure function of its engine's proof environment, or None without one; then
    its board proves, where there is one, else the board's trial."""
    from agent.contract.errors import PlatformUnsupported
    from edge.config import cache_dir
    from edge.conversion import proof_measure
    from edge.runtimes.lockfile import engine_versions
    from edge.runtimes.proof import proof_environment

    @cache
    def environment_of(engine: EngineName, version: str) -> ProofEnvironment:
        return proof_environment(engine, cache_dir(), progress, version=version)

    def choose(profile: DeviceProfile) -> Measure | None:
        board = (boards or {}).get(profile.name)
        instead = f"it is run on {board.name} instead" if board else "the board's trial is the first run"
        engine = profile.engine
        try:
            environment = environment_of(engine, profile.engine_version)
        except PlatformUnsupported as error:
            output.line("note", f"no proof run here for `{profile.name}`: {error}; {instead}")
            return None
        here, there = environment.runtime.engine_version, engine_versions(profile, engine)
        if here not in there:
            versions = " or ".join(there) or "none"
            output.line(
                "note",
                f"no proof run here for `{profile.name}`: its boards run {engine.value} {versions}, this one {here};"
                f" {instead}",
            )
            return None
        if len(there) > 1:
            versions = " or ".join(there)
            output.line(
                "note",
                f"`{profile.name}`: its boards run {engine.value} {versions}, by their Python; the proof run here is in"
                f" {here}, and each board's trial judges in its own",
            )
        return proof_measure(environment)

    return choose
