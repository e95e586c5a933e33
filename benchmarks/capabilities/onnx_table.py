"""What ONNX Runtime runs: measured node by node.

The rule: of several examples of one operator on the same types, which differ in their attributes, one that is run
right shows that it is built. Another that was answered wrongly is among the findings; the proof run of the artifact
itself decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.contract.manifest import ModelFormat
from benchmarks.capabilities import onnx_nodes, own_recipes, rows
from benchmarks.capabilities.agreement import Networks
from benchmarks.capabilities.environments import VERSIONS, environment
from benchmarks.capabilities.probes import OK, Outcome, Probe, compared, run

ENGINE = "onnxruntime"
LACKS = "NOT_IMPLEMENTED"
LIMITS = ("ir", "opset")
OWN = "com.microsoft."
NETWORK = 0.2
"""Relative difference of a whole network's answers that is still alike: quantized kernels round as they like."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What the versions made of the probes.

    Attributes:
        nodes: of operators; those that the newest version answers alike each time, or says that it lacks.
        limits: of opsets and IRs.
        nets: whole networks, as edge makes them.
        outcomes: version to a probe's name to what came of it.
    """

    nodes: tuple[Probe, ...]
    limits: tuple[Probe, ...]
    nets: tuple[Probe, ...]
    outcomes: Mapping[str, Mapping[str, Outcome]]


def measure(folder: Path, tell: Callable[[str], None]) -> tuple[list[str], list[Networks]]:
    """Lines of the table, and what became of the networks."""
    measured = measurements(folder, tell)
    return lines(measured), [Networks(engine=ENGINE, nets=measured.nets, outcomes=measured.outcomes)]


def measurements(folder: Path, tell: Callable[[str], None]) -> Measurement:
    """Run everything in every version."""
    nets = networks(folder, tell)
    tell("making the models of one node")
    nodes, limits = onnx_nodes.probes(folder), onnx_nodes.limits(folder)
    measured: dict[str, Mapping[str, Outcome]] = {}
    references: dict[str, Path] = {}
    for version in reversed(VERSIONS[ENGINE]):
        with environment(ENGINE, version) as where:
            outcomes, places = run(where, [*nodes, *limits, *nets], folder / version)
            if not references:
                references = places
                again, twice = run(where, nodes, folder / "again")
                alike = compared(again, twice, references, nodes)
                nodes = [
                    node for node in nodes if alike[node.name].kind == OK or LACKS in alike[node.name].reason
                ]
            measured[version] = compared(outcomes, places, references, [*nodes, *nets])
        kinds = [measured[version][node.name].kind for node in nodes]
        tell(f"{ENGINE} {version}: {kinds.count(OK)} of {len(kinds)} nodes")
    return Measurement(nodes=tuple(nodes), limits=tuple(limits), nets=tuple(nets), outcomes=measured)


def networks(folder: Path, tell: Callable[[str], None]) -> list[Probe]:
    """Probes of the networks."""
    found = []
    for made in own_recipes.artifacts(ModelFormat.ONNX, folder / "networks", tell):
        name = f"net-{len(found):03}"
        inputs = folder / f"{name}.inputs.npz"
        np.savez(inputs, **{f"input_{k}": array for k, array in enumerate(made.inputs)})
        found.append(
            Probe(name=name, key=(made.network, 0, made.recipe), model=made.artifact.path, inputs=inputs,
                  tolerance=NETWORK, whole=True)
        )  # fmt: skip
    return found


def lines(measured: Measurement) -> list[str]:
    """The table."""
    versions = VERSIONS[ENGINE]
    newest = {version: _limits(measured.outcomes[version], measured.limits) for version in versions}
    tried = {
        what: max(probe.key[1] for probe in measured.limits if probe.key[0] == what) + 1 for what in LIMITS
    }

    def soonest(name: str, number: int) -> str:
        return versions[0] if "." in name else next(v for v in versions if newest[v]["opset"] >= number)

    found = rows.firsts(measured.nodes, measured.outcomes, versions, one_is_enough=True)
    added = _added(found)
    known = {
        version: newest[version]
        | {name: int(version in versions[versions.index(first) :]) for name, first in added}
        for version in versions
    }
    return [
        *rows.listed(ENGINE, known, tried | dict.fromkeys(dict(added), 1)),
        *rows.recipes(ENGINE, measured.nets, measured.outcomes, versions),
        *rows.kernels(ENGINE, found, soonest),
    ]


def _added(found: Mapping[rows.Key, str]) -> list[tuple[str, str]]:
    """ONNX Runtime's own operators, each with the version that first runs it on any types."""
    versions = VERSIONS[ENGINE]
    firsts: dict[str, str] = {}
    for (name, _, _), first in found.items():
        if name.startswith(OWN) and first != rows.NEVER:
            firsts[name] = min(first, firsts.get(name, first), key=versions.index)
    return sorted(firsts.items())


def _limits(outcomes: Mapping[str, Outcome], limits: Sequence[Probe]) -> dict[str, int]:
    """The newest opset and IR that a version takes."""
    taken = [probe.key[:2] for probe in limits if outcomes[probe.name].kind == OK]
    return {what: max(number for kind, number in taken if kind == what) for what in LIMITS}
