"""What an artifact asks of the engine that runs it, and which engine versions have all of it.

The rule: what was measured decides (`converters.capability`), not what the file says of itself. An engine that is not
named is not to be used.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelUnsupported
from agent.contract.manifest import ModelFormat
from converters import onnx_operators, onnx_opset
from converters.capability.measured import ENGINES, Use, engine, operator_names
from converters.tflite_file import TFLiteFile


def tflite_uses(file: TFLiteFile, path: Path) -> tuple[Use, ...]:
    """The operators of a `.tflite`.

    Raises:
        ModelUnsupported: it holds operators that no engine of a board has.
    """
    if file.custom:
        raise ModelUnsupported(
            path=path.name,
            target="an artifact for boards",
            reason=f"it holds operators that are not built in: {', '.join(file.custom)}",
            way_out="convert it with built-in operators only",
        )
    names = operator_names()
    return tuple(
        Use(name=_name(names, operator.code), version=operator.version, types=operator.types)
        for operator in file.operators
    )


def onnx_uses(proto: Any) -> tuple[Use, ...]:
    """The opset, the IR and the operators of an onnx.ModelProto."""
    limits = Use(name="opset", version=onnx_opset.opset(proto)), Use(name="ir", version=proto.ir_version)
    return (*limits, *onnx_operators.operators(proto))


def engines(kind: ModelFormat, uses: Iterable[Use]) -> dict[str, str]:
    """Engine name to the least version that runs all of it; without those engines of which no version does."""
    uses = tuple(uses)
    found = {name.value: engine(name).least(uses) for name in ENGINES[kind]}
    return {name: least for name, least in found.items() if least is not None}


def _name(names: tuple[str, ...], code: int) -> str:
    return names[code] if code < len(names) else f"operator {code}"
