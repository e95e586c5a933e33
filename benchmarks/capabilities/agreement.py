"""Whether the rows of operators say of whole networks what these did.

The rule: nothing is corrected by it. Where a version ran a network that its rows refuse, a later version did not, or
the rows are too strict; where it failed on one that they let through, only the proof tells.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract.manifest import EngineName
from benchmarks.capabilities.probes import OK, Probe
from benchmarks.capabilities.rows import Measured
from converters import requirements, tflite_file
from converters.capability.measured import Use, parsed


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What became of the networks in an engine.

    Attributes:
        engine: its name.
        nets: the networks.
        outcomes: version to a net's name to what came of it.
    """

    engine: str
    nets: Sequence[Probe]
    outcomes: Measured


def disagreements(text: str, networks: Networks) -> Iterator[str]:
    """One line each; `text` is the file of tables."""
    measured = parsed(EngineName(networks.engine), tomllib.loads(text))
    for net in networks.nets:
        uses = _uses(net.model)
        for version in measured.versions:
            kind = networks.outcomes[version][net.name].kind
            lacking = measured.lacking(version, uses)
            if (kind == OK) == bool(lacking):
                said = f"lacks {', '.join(map(str, lacking))}" if lacking else "lacks nothing"
                yield f"{measured.name} {version}: {net.key[0]} by {net.key[2]} is {kind} and {said}"


def _uses(path: Path) -> tuple[Use, ...]:
    if path.suffix == ".tflite":
        return requirements.tflite_uses(tflite_file.read(path), path)
    import onnx

    return requirements.onnx_uses(onnx.load(str(path)))
