"""What LiteRT and tflite-runtime run: measured operator by operator, and net by net.

The rule: how new an operator's version a runtime lists, and on which types it then answers right, are measured apart.
A quantizer that stamps an old version on a new thing is found out that way: on the types it is run stamped as new as
the runtime takes, and no newer than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.contract.manifest import ModelFormat
from benchmarks.capabilities import own_recipes, rows, tflite_cut, tflite_nets
from benchmarks.capabilities.agreement import Networks
from benchmarks.capabilities.environments import VERSIONS, Environment, environment
from benchmarks.capabilities.probes import OK, REFUSED, Outcome, Probe, compared, run
from converters import tflite_file

ENGINES = ("tflite-runtime", "litert")
"""The last one's newest version is what all others are compared with."""
UNLISTED = "Didn't find op"
EXAMPLES = 4
"""So many of the same operator on the same types: a kernel that is wrong may be right on one of them."""
REAL, HYBRID, NETWORK = 1e-3, 5e-2, 0.2
"""Relative difference that is alike; where activations become integers on the way, kernels round as they like."""


@dataclass(frozen=True, kw_only=True)
class Probes:
    """All there is to be run.

    Attributes:
        operators: one operator a model, a few of each kind.
        nets: whole networks, as edge makes them; the key is (network, 0, recipe).
    """

    operators: tuple[Probe, ...]
    nets: tuple[Probe, ...]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What an engine's versions made of the probes.

    Attributes:
        engine: its name.
        outcomes: version to a probe's name to what came of it.
        listed: version to an operator's name to the newest version of it that is listed.
    """

    engine: str
    outcomes: Mapping[str, Mapping[str, Outcome]]
    listed: Mapping[str, Mapping[str, int]]


def measure(folder: Path, tell: Callable[[str], None]) -> tuple[list[str], list[Networks]]:
    """Lines of the table, and what became of the networks."""
    made, measured = measurements(probes(folder, tell), folder, tell)
    whole = [Networks(engine=each.engine, nets=made.nets, outcomes=each.outcomes) for each in measured]
    return lines(made, measured), whole


def measurements(made: Probes, folder: Path, tell: Callable[[str], None]) -> tuple[Probes, list[Measurement]]:
    """Run everything in every version of both engines; what the newest does not answer is no probe."""
    references: dict[str, Path] = {}
    found = []
    for engine in reversed(ENGINES):
        outcomes: dict[str, Mapping[str, Outcome]] = {}
        listed: dict[str, Mapping[str, int]] = {}
        for version in reversed(VERSIONS[engine]):
            with environment(engine, version) as where:
                listed[version] = newest_versions(where, made.operators, folder / "versions")
                said, places = _run(where, made, listed[version], folder / engine / version)
            if not references:
                references, made = places, _answered(made, said)
            outcomes[version] = compared(said, places, references, [*made.operators, *made.nets])
            kinds = [outcomes[version][probe.name].kind for probe in made.operators]
            tell(f"{engine} {version}: {kinds.count(OK)} of {len(kinds)} operators")
        found.append(Measurement(engine=engine, outcomes=outcomes, listed=listed))
    return made, found


def _run(
    where: Environment, made: Probes, listed: Mapping[str, int], folder: Path
) -> tuple[dict[str, Outcome], dict[str, Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    fitting = [_stamped(probe, listed, folder) for probe in made.operators]
    return run(where, [*fitting, *made.nets], folder)


def _answered(made: Probes, said: Mapping[str, Outcome]) -> Probes:
    return Probes(
        operators=tuple(probe for probe in made.operators if said[probe.name].kind == OK),
        nets=tuple(probe for probe in made.nets if said[probe.name].kind == OK),
    )


def lines(made: Probes, measured: Sequence[Measurement]) -> list[str]:
    """The table."""
    listed = ", ".join(f'"{name}"' for name in names())
    return [f"names = [{listed}]", *(line for each in measured for line in _engine(made, each))]


def _engine(made: Probes, measured: Measurement) -> list[str]:
    engine, versions = measured.engine, VERSIONS[measured.engine]
    tried = {name: max(p.key[1] for p in made.operators if p.key[0] == name) for name, _, _ in
             (probe.key for probe in made.operators)}  # fmt: skip
    found = hybrids_alike(rows.firsts(made.operators, measured.outcomes, versions), versions)
    return [
        *rows.listed(engine, {version: measured.listed[version] for version in versions}, tried),
        *rows.recipes(engine, made.nets, measured.outcomes, versions),
        *rows.kernels(engine, found, lambda name, number: versions[0]),
    ]


def hybrids_alike(found: Mapping[rows.Key, str], versions: Sequence[str]) -> dict[rows.Key, str]:
    """What was found, with the worst of an operator's versions for all of them where floats meet integer weights.

    Kernels that lack these take them for something else, and are right on numbers of one sign and wrong on others.
    """
    order = [*versions, rows.NEVER]
    worst: dict[tuple[str, str], str] = {}
    for (name, _, types), first in found.items():
        worst[name, types] = max(first, worst.get((name, types), first), key=order.index)
    return {
        (name, number, types): worst[name, types] if is_hybrid(types) else first
        for (name, number, types), first in found.items()
    }


def is_hybrid(types: str) -> bool:
    """Whether real numbers meet integers that stand for such."""
    integers = types.replace("int32", "").replace("int64", "")
    return "float32" in integers and "int" in integers


def probes(folder: Path, tell: Callable[[str], None]) -> Probes:
    """Make the networks by every recipe, and groups of operators by every converter, and cut them."""
    operators: dict[tuple[str, int, str], list[Probe]] = {}
    nets: list[Probe] = []
    for made in own_recipes.artifacts(ModelFormat.TFLITE, folder / "networks", tell):
        tell(f"{made.network} by {made.recipe}")
        data, inputs = made.artifact.path.read_bytes(), list(made.inputs)
        key = (made.network, 0, made.recipe)
        net = _write(folder, f"net-{len(nets):03}", key, data, inputs, tolerance=NETWORK)
        nets.append(replace(net, whole=True))
        for cut in tflite_cut.cuts(data, inputs):
            _add(operators, folder, cut)
    for net_of_operators in tflite_nets.nets():
        for recipe, name, data in tflite_nets.converted(net_of_operators):
            tell(f"{name} by {recipe}")
            for cut in tflite_cut.cuts(data, _stored(data, net_of_operators.samples()[0])):
                _add(operators, folder, cut)
                for squeezed in tflite_cut.squeezed(cut):
                    _add(operators, folder, squeezed)
    every = tuple(probe for each in operators.values() for probe in each)
    return Probes(operators=every, nets=tuple(nets))


def _add(found: dict[tuple[str, int, str], list[Probe]], folder: Path, cut: tflite_cut.Cut) -> None:
    """Write the probe of an operator unless there are enough that show the same."""
    path = folder / "cut.tflite"
    path.write_bytes(cut.data)
    used = tflite_file.read(path).operators
    if len(used) > 1:  # a loop, with all that its body holds
        used = tuple(operator for operator in used if operator.code in tflite_file.CONTROL)
    if len(used) != 1:  # a custom operator
        return
    key = (names()[used[0].code], used[0].version, used[0].types)
    known = found.setdefault(key, [])
    if len(known) < EXAMPLES and all(probe.model.read_bytes() != cut.data for probe in known):
        name = f"op-{sum(map(len, found.values())):04}"
        tolerance = HYBRID if is_hybrid(key[2]) else REAL
        known.append(_write(folder, name, key, cut.data, list(cut.inputs), tolerance=tolerance))


def _write(
    folder: Path,
    name: str,
    key: tuple[str, int, str],
    data: bytes,
    inputs: Sequence[NDArray[np.generic]],
    *,
    tolerance: float,
) -> Probe:
    model, stored = folder / f"{name}.tflite", folder / f"{name}.inputs.npz"
    model.write_bytes(data)
    np.savez(stored, **{f"input_{k}": array for k, array in enumerate(inputs)})
    return Probe(name=name, key=key, model=model, inputs=stored, tolerance=tolerance)


def _stored(data: bytes, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.generic]]:
    """Real numbers as a net's inputs store them."""
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=data).get_input_details()
    arrays: list[NDArray[np.generic]] = []
    for detail, array in zip(details, inputs, strict=False):
        scale, point = detail["quantization"]
        limits = np.iinfo(detail["dtype"]) if scale else None
        if limits is None:
            arrays.append(array)
        else:
            steps = np.clip(np.round(array / scale) + point, limits.min, limits.max)
            arrays.append(steps.astype(detail["dtype"]))
    return arrays


def newest_versions(where: Environment, operators: Sequence[Probe], folder: Path) -> dict[str, int]:
    """The newest version of each operator that a runtime lists, up to the newest that is written today."""
    folder.mkdir(exist_ok=True)
    newest: dict[str, int] = {}
    plainest: dict[str, Probe] = {}
    for probe in operators:
        newest[probe.key[0]] = max(probe.key[1], newest.get(probe.key[0], 0))
        plainest.setdefault(probe.key[0], probe)
    stamped = []
    for name, probe in plainest.items():
        data = probe.model.read_bytes()
        for version in range(1, newest[name] + 1):
            path = folder / f"{probe.name}-v{version}.tflite"
            path.write_bytes(tflite_cut.with_version(data, version))
            stamped.append(replace(probe, name=path.stem, key=(name, version, ""), model=path))
    outcomes, _ = run(where, stamped, folder / "answers")
    listed = dict.fromkeys(newest, 0)
    for probe in stamped:
        said = outcomes[probe.name]
        if not (said.kind == REFUSED and UNLISTED in said.reason):
            listed[probe.key[0]] = max(probe.key[1], listed[probe.key[0]])
    return listed


def _stamped(probe: Probe, listed: Mapping[str, int], folder: Path) -> Probe:
    """The probe with the newest version that the runtime lists, where its own is newer."""
    name, version, _ = probe.key
    if not 0 < listed[name] < version:
        return probe
    path = folder / f"{probe.name}-v{listed[name]}.tflite"
    path.write_bytes(tflite_cut.with_version(probe.model.read_bytes(), listed[name]))
    return replace(probe, model=path)


def names() -> list[str]:
    """Every built-in operator's name by its code."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    codes = {code: name for name, code in vars(BuiltinOperator).items() if name.isupper()}
    return [codes.get(code, "") for code in range(max(codes) + 1)]
