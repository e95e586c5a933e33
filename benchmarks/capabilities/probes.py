"""A probe: a model of one operator, its inputs, and what runtimes made of it.

The rule: `ok` means loaded, run, and answered like the newest runtime; everything else has a name: `refused`,
`wrong`, `crashes`. What the newest runtime does not answer alike twice is no probe.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.capabilities.environments import Environment

CHILD = Path(__file__).with_name("child.py")
STEPS = 2
"""Integers may differ by so much on 99 % of the values."""
TIMEOUT_S = 7200.0

OK, REFUSED, WRONG, CRASHES = "ok", "refused", "wrong", "crashes"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One model.

    Attributes:
        name: of its files, and in the order of the table.
        key: what it shows: (operator, version, types).
        model, inputs: its files.
        tolerance: relative difference of real numbers that is still alike.
        whole: it is a network, whose integers are taken for real numbers: many roundings add up.
    """

    name: str
    key: tuple[str, int, str]
    model: Path
    inputs: Path
    tolerance: float = 1e-3
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a runtime made of a probe.

    Attributes:
        kind: `ok`, `refused`, `wrong` or `crashes`.
        reason: what was said, or how far off it was.
    """

    kind: str
    reason: str = ""


def run(
    where: Environment, probes: Sequence[Probe], folder: Path
) -> tuple[dict[str, Outcome], dict[str, Path]]:
    """Run probes in a runtime, starting it again after each crash.

    Returns:
        What came of each by its name (`ok`: it answered), and where its answers are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {probe.name: folder / f"{probe.name}.npz" for probe in probes}
    outcomes: dict[str, Outcome] = {}
    left = list(probes)
    while left:
        begun = _start(where, left, places, folder, outcomes)
        if begun is not None:
            outcomes[begun[0]] = Outcome(kind=CRASHES, reason=begun[1])
        elif any(probe.name not in outcomes for probe in left):
            raise SystemExit(f"{where.engine} {where.version} does not start")
        left = [probe for probe in left if probe.name not in outcomes]
    return outcomes, places


def _start(
    where: Environment,
    probes: Sequence[Probe],
    places: Mapping[str, Path],
    folder: Path,
    outcomes: dict[str, Outcome],
) -> tuple[str, str] | None:
    """One process; the probe that it died at and how, or None."""
    listed = folder / "list.jsonl"
    listed.write_text("".join(
        json.dumps({"name": p.name, "model": str(p.model), "inputs": str(p.inputs), "outputs": str(places[p.name])})
        + "\n"
        for p in probes
    ))  # fmt: skip
    done = subprocess.run(
        [str(where.python), "-I", str(CHILD), where.engine, str(listed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TIMEOUT_S,
    )
    begun = None
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if "begun" in said:
            begun = said["begun"]
            continue
        outcomes[said["name"]] = Outcome(kind=REFUSED if said["error"] else OK, reason=said["error"])
        begun = None
    if done.returncode == 0:
        return None
    if begun is None:
        raise SystemExit(f"{where.engine} {where.version}: {done.stderr[-2000:]}")
    return begun, f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"


def compared(
    outcomes: Mapping[str, Outcome],
    places: Mapping[str, Path],
    references: Mapping[str, Path],
    probes: Iterable[Probe],
) -> dict[str, Outcome]:
    """The outcomes, with `wrong` where a runtime answered otherwise than the newest."""
    judged = dict(outcomes)
    for probe in probes:
        if judged[probe.name].kind == OK:
            reason = difference(
                places[probe.name], references[probe.name], probe.tolerance, whole=probe.whole
            )
            if reason:
                judged[probe.name] = Outcome(kind=WRONG, reason=reason)
    return judged


def difference(found: Path, expected: Path, tolerance: float, *, whole: bool = False) -> str:
    """How answers differ, or an empty string where they are alike."""
    with np.load(found) as here, np.load(expected) as there:
        if here.files != there.files:
            return "other outputs"
        apart = (_apart(here[name], there[name], tolerance, whole=whole) for name in there.files)
        return next(filter(None, apart), "")


def _apart(found: NDArray[Any], expected: NDArray[Any], tolerance: float, *, whole: bool) -> str:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"{found.dtype}{found.shape} for {expected.dtype}{expected.shape}"
    if found.dtype.kind in ("fciu" if whole else "fc"):
        known = np.isfinite(expected)
        if not np.array_equal(found[~known], expected[~known], equal_nan=True):
            return "other infinities"
        here, there = found[known].astype(np.float64), expected[known].astype(np.float64)
        with np.errstate(invalid="ignore"):  # an infinity that should be a number is infinitely far off
            off = float(np.linalg.norm(here - there)) / (float(np.linalg.norm(there)) or 1.0)
        return "" if off <= tolerance else f"{off:.1%} off"
    if found.dtype.kind in "iu" and found.dtype.itemsize <= 2:
        steps = np.abs(found.astype(np.int64) - expected.astype(np.int64))
        off = float(np.mean(steps > STEPS)) if steps.size else 0.0
        return "" if off <= 0.01 else f"{off:.0%} of the values more than {STEPS} steps off"
    return "" if np.array_equal(found, expected) else "other values"
