"""From outcomes to `converters/capability/table.toml`.

The rule: an operator on some types runs from the first version from which on every measured one answered right; what
never did is not in the table, and so is refused. The same measurements give the same bytes, but for the date.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.capabilities.probes import CRASHES, OK, WRONG, Outcome, Probe

Measured = Mapping[str, Mapping[str, Outcome]]
"""Engine version to a probe's name to its outcome."""


def first_version(measured: Measured, name: str, versions: Sequence[str]) -> str | None:
    """The first version from which on a probe was answered right by all that follow, or None."""
    found = None
    for version in reversed(versions):
        if measured[version][name].kind != OK:
            break
        found = version
    return found


def by_operator(
    probes: Iterable[Probe], measured: Measured, versions: Sequence[str], *, one_is_enough: bool = False
) -> dict[str, dict[int, dict[str, list[str]]]]:
    """Operator to its version to the engine version that first runs it to the types that it does so on.

    Args:
        probes: of operators.
        measured: what became of them.
        versions: of the engine, oldest first.
        one_is_enough: of several probes of one kind, one that is run right counts, else all have to be.
    """
    firsts: dict[tuple[str, int, str], list[str | None]] = defaultdict(list)
    for probe in probes:
        firsts[probe.key].append(first_version(measured, probe.name, versions))
    found: dict[str, dict[int, dict[str, list[str]]]] = {}
    for (name, number, types), each in sorted(firsts.items()):
        right = [version for version in each if version is not None]
        if right and (one_is_enough or len(right) == len(each)):
            first = (min if one_is_enough else max)(right, key=versions.index)
            found.setdefault(name, {}).setdefault(number, {}).setdefault(first, []).append(types)
    return found


def findings(probes: Iterable[Probe], measured: Measured) -> list[tuple[str, str, str, str]]:
    """What was loaded and answered wrongly, or ended the process: operator, types, what, versions."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for probe in probes:
        for version, outcomes in measured.items():
            if (kind := outcomes[probe.name].kind) in (WRONG, CRASHES):
                found[probe.key[0], probe.key[2], kind].add(version)
    return [
        (name, types, kind, ", ".join(sorted(versions, key=_key)))
        for (name, types, kind), versions in sorted(found.items())
    ]


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def grouped(title: str, operators: Mapping[str, Mapping[int, Mapping[str, Sequence[str]]]]) -> list[str]:
    """Lines of one table of operators; a row is `version = { engine version = "types; types" }`."""
    lines = []
    for name, versions in sorted(operators.items()):
        lines.append(f"[{title}.{json.dumps(name)}]")
        for number, firsts in sorted(versions.items()):
            inner = ", ".join(
                f"{json.dumps(first)} = {json.dumps('; '.join(types))}"
                for first, types in sorted(firsts.items(), key=lambda item: _key(item[0]))
            )
            lines.append(f"{number} = {{ {inner} }}")
    return lines


def found(engine: str, entries: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Lines of what was loaded and should not be."""
    rows = [
        f"  {{ operator = {json.dumps(name)}, types = {json.dumps(types)}, what = {json.dumps(kind)},"
        f" versions = {json.dumps(versions)} }},"
        for name, types, kind, versions in entries
    ]
    return [f"[{engine}]", "findings = [", *rows, "]"]


def limits(engine: str, newest: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Lines of the newest opset and IR by version."""
    lines = [f"[{engine}.limits]"]
    for version, values in newest.items():
        inner = ", ".join(f"{key} = {value}" for key, value in values.items())
        lines.append(f"{json.dumps(version)} = {{ {inner} }}")
    return lines


def recipes(engine: str, nets: Sequence[Probe], measured: Measured, versions: Sequence[str]) -> list[str]:
    """Lines of what became of whole nets: recipe to the engine version that first runs them to their names."""
    found: dict[str, dict[str, list[str]]] = {}
    for probe in nets:
        first = first_version(measured, probe.name, versions)
        found.setdefault(probe.key[2], {}).setdefault(first or "never", []).append(probe.key[0])
    lines = [f"[{engine}.recipes]"]
    for recipe, firsts in found.items():
        order = sorted(
            firsts.items(), key=lambda item: (item[0] == "never", item[0] != "never" and _key(item[0]))
        )
        inner = ", ".join(f"{json.dumps(first)} = {json.dumps(' '.join(names))}" for first, names in order)
        lines.append(f"{json.dumps(recipe)} = {{ {inner} }}")
    return lines


def operator(
    engine: str, name: str, listed: Mapping[str, int], types: Mapping[str, Sequence[str]]
) -> list[str]:
    """Lines of an operator: the newest version of it by engine version, and the types by the first that runs them."""
    newest = ", ".join(f"{json.dumps(version)} = {number}" for version, number in listed.items())
    firsts = ", ".join(
        f"{json.dumps(first)} = {json.dumps('; '.join(each))}"
        for first, each in sorted(types.items(), key=lambda item: _key(item[0]))
    )
    return [f"[{engine}.operators.{name}]", f"newest = {{ {newest} }}", f"types = {{ {firsts} }}"]
