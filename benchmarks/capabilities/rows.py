"""From outcomes to the rows of `converters/capability/*.toml`.

The rule: what runs from the oldest measured version on is no row. Everything else is: the engine version from which on
every measured one loaded it, ran it and answered right, or `never`. Where one version of an operator is a row, its
other versions on the same types are, too, so that a reader need not guess. The same measurements give the same bytes,
but for the date.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from benchmarks.capabilities.probes import OK, REFUSED, Outcome, Probe

Measured = Mapping[str, Mapping[str, Outcome]]
"""Engine version to a probe's name to its outcome."""
Key = tuple[str, int, str]
NEVER = "never"
WHOLE = "right"


def first_version(measured: Measured, name: str, versions: Sequence[str]) -> str:
    """The version from which on a probe was answered right by all that follow, or `never`."""
    found = NEVER
    for version in reversed(versions):
        if measured[version][name].kind != OK:
            break
        found = version
    return found


def firsts(
    probes: Iterable[Probe], measured: Measured, versions: Sequence[str], *, one_is_enough: bool = False
) -> dict[Key, str]:
    """The engine version that first runs an operator in one version on some types; see `first_version`.

    Args:
        probes: of operators.
        measured: what became of them.
        versions: of the engine, oldest first.
        one_is_enough: of several probes of one kind, one that is run right counts, else all have to be; it is so for
            loops and branches, whose bodies are counted by themselves.
    """
    order = [*versions, NEVER]
    each: dict[Key, list[str]] = defaultdict(list)
    for probe in probes:
        each[probe.key].append(first_version(measured, probe.name, versions))
    return {
        key: (min if one_is_enough or not key[2] else max)(found, key=order.index)
        for key, found in sorted(each.items())
    }


def kernels(engine: str, found: Mapping[Key, str], soonest: Callable[[str, int], str]) -> list[str]:
    """Lines of the operators of which something does not run as soon as it could.

    Args:
        engine: its name.
        found: see `firsts`.
        soonest: from an operator and its version to the engine version that lists it first.
    """
    told = {(name, types) for (name, number, types), first in found.items() if first != soonest(name, number)}
    each: dict[str, dict[int, dict[str, list[str]]]] = {}
    for (name, number, types), first in found.items():
        if (name, types) in told:
            each.setdefault(name, {}).setdefault(number, {}).setdefault(first, []).append(types)
    lines = []
    for name, numbers in sorted(each.items()):
        lines.append(f"[{engine}.kernels.{json.dumps(name)}]")
        for number, by_first in sorted(numbers.items()):
            inner = ", ".join(
                f"{json.dumps(first)} = {json.dumps('; '.join(types))}"
                for first, types in sorted(by_first.items(), key=lambda item: _key(item[0]))
            )
            lines.append(f"{number} = {{ {inner} }}")
    return lines


def listed(engine: str, newest: Mapping[str, Mapping[str, int]], tried: Mapping[str, int]) -> list[str]:
    """Lines of the engine's versions, and of operators' versions, opsets and IRs by the one that first lists them.

    Args:
        engine: its name.
        newest: engine version, oldest first, to a name to the newest version of it that is listed.
        tried: the newest version that there was.
    """
    lines = [f"[{engine}]", f"versions = {json.dumps([*newest])}", f"[{engine}.listed]"]
    for name, most in sorted(tried.items()):
        entries: dict[int, str] = {}
        before = 0
        for place, (version, numbers) in enumerate(newest.items()):
            if place and numbers[name] > before:
                entries[before + 1] = version
            before = max(before, numbers[name])
        if before < most:
            entries[before + 1] = NEVER
        if entries:
            inner = ", ".join(f"{number} = {json.dumps(first)}" for number, first in entries.items())
            lines.append(f"{json.dumps(name)} = {{ {inner} }}")
    return lines


def recipes(engine: str, nets: Collection[Probe], measured: Measured, versions: Sequence[str]) -> list[str]:
    """Lines of what became of whole networks: recipe to engine version to how many came to what."""
    lines = [f"[{engine}.recipes]"]
    for recipe in dict.fromkeys(probe.key[2] for probe in nets):
        mine = [probe for probe in nets if probe.key[2] == recipe]
        cells = []
        for version in versions:
            kinds = [measured[version][probe.name].kind for probe in mine]
            counted = {
                WHOLE if kind == OK else kind: kinds.count(kind) for kind in sorted(kinds, key=_weight)
            }
            inner = ", ".join(f"{kind} = {count}" for kind, count in counted.items())
            cells.append(f"{json.dumps(version)} = {{ {inner} }}")
        lines.append(f"{json.dumps(recipe)} = {{ {', '.join(cells)} }}")
    return lines


def _weight(kind: str) -> int:
    return (OK, REFUSED).index(kind) if kind in (OK, REFUSED) else 2


def _key(version: str) -> tuple[int, ...]:
    return (10**6,) if version == NEVER else tuple(int(part) for part in version.split("."))
