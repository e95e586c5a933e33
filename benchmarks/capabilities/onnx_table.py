"""What ONNX Runtime runs: measured node by node.

The rule: of several examples of one operator on the same types, which differ in their attributes, one that is run
right shows that it is built. Another that was answered wrongly is among the findings; the proof run of the artifact
itself decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.capabilities import onnx_nodes, table
from benchmarks.capabilities.environments import VERSIONS, environment
from benchmarks.capabilities.probes import OK, Outcome, Probe, compared, run

ENGINE = "onnxruntime"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What the versions made of the probes.

    Attributes:
        probes: of operators; those that the newest version answers alike each time.
        limits: of opsets and IRs.
        outcomes: version to a probe's name to what came of it.
    """

    probes: tuple[Probe, ...]
    limits: tuple[Probe, ...]
    outcomes: Mapping[str, Mapping[str, Outcome]]


def measure(folder: Path, tell: Callable[[str], None]) -> list[str]:
    """Lines of the table."""
    return lines(measurements(folder, tell))


def measurements(folder: Path, tell: Callable[[str], None]) -> Measurement:
    """Run everything in every version."""
    tell("making the models of one node")
    probes, limits = onnx_nodes.probes(folder), onnx_nodes.limits(folder)
    measured: dict[str, Mapping[str, Outcome]] = {}
    references: dict[str, Path] = {}
    for version in reversed(VERSIONS[ENGINE]):
        with environment(ENGINE, version) as where:
            outcomes, places = run(where, [*probes, *limits], folder / version)
            if not references:  # the newest: what it does not answer alike twice is left out
                references = places
                probes = [probe for probe in probes if outcomes[probe.name].kind == OK]
                again, twice = run(where, probes, folder / "again")
                alike = compared(again, twice, references, probes)
                probes = [probe for probe in probes if alike[probe.name].kind == OK]
            measured[version] = compared(outcomes, places, references, probes)
        kinds = [measured[version][probe.name].kind for probe in probes]
        tell(f"{ENGINE} {version}: {kinds.count(OK)} of {len(kinds)} nodes")
    return Measurement(probes=tuple(probes), limits=tuple(limits), outcomes=measured)


def lines(measured: Measurement) -> list[str]:
    """The table."""
    versions = VERSIONS[ENGINE]
    operators = table.by_operator(measured.probes, measured.outcomes, versions, one_is_enough=True)
    newest = {version: _limits(measured.outcomes[version], measured.limits) for version in versions}
    return [
        *table.found(ENGINE, table.findings(measured.probes, measured.outcomes)),
        *table.limits(ENGINE, newest),
        *table.grouped(f"{ENGINE}.operators", operators),
    ]


def _limits(outcomes: Mapping[str, Outcome], limits: Sequence[Probe]) -> dict[str, int]:
    """The newest opset and IR that a version takes."""
    taken = [probe.key[:2] for probe in limits if outcomes[probe.name].kind == OK]
    return {what: max(number for kind, number in taken if kind == what) for what in ("opset", "ir")}
