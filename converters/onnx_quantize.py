"""The numbers of an ONNX model, stored as a recipe's scheme says, by ONNX Runtime's tools.

The rule: what the tools make is never taken on their word. It must hold what the scheme promises, a 4-bit file must
be smaller than the float one, and where much of the weights stayed float or the file grew, the notes say so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.contract.errors import EdgeError, ModelUnsupported
from converters import onnx_file
from converters.calibration.data import Data
from converters.job import Target
from converters.onnx_nodes import float_weights, kept_float, name_nodes, sort_nodes
from converters.recipe import Scheme
from converters.repair.apply import repair_onnx

MADE = {
    "float32": ("float32",),
    "float16": ("float16",),
    "int8": ("dynamic", "board", "int8", "uint8", "int16"),
    "int4": ("float32",),
}
"""Dtype of the weights to those of the activations that go with it."""
MOST_FLOAT_PERCENT = 20
"""Of the weights' bytes; a note says so where more of them stayed float, which nobody expects of a recipe's name."""
MOST_FLOAT_PERCENT_OF_INT4 = 50
"""Where more stays float, a file would be called int4 that is not."""

SLOW_CONVOLUTIONS = (
    "convolutions quantized at each inference took 2 to 13 times as long as float ones where that was measured;"
    " int8 with calibration data does not"
)


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A model with other numbers.

    Attributes:
        proto: onnx.ModelProto.
        settings: how it was made, as data.
        notes: what a person should know.
    """

    proto: Any
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def quantize(
    proto: Any, target: Target, calibration: Data | None, folder: Path, *, source: Path
) -> Quantized:
    """Store a model's numbers as the target's recipe says.

    Args:
        proto: onnx.ModelProto, float; it is not changed.
        target: its recipe and, for the integer types, its architecture.
        calibration: representative inputs; needed where the scheme is calibrated.
        folder: for files in between.
        source: the model that was given, for the sentence of an error.

    Raises:
        ModelUnsupported: the tools refuse it, or what they make is not what the recipe promises.
    """
    scheme = target.recipe.scheme(target.format)
    _refuse_what_no_tool_makes(scheme, target, source)
    if scheme.weights == "float32":
        return Quantized(proto=proto, settings={})
    logging.disable(logging.WARNING)
    try:
        made = _made(proto, scheme, target, calibration, folder, source)
        sort_nodes(made.proto)
    except EdgeError:
        raise
    except Exception as error:  # the tools raise plain exceptions of every kind
        reason = " ".join(str(error).split())[:300]
        raise _refused(source, target, f"ONNX Runtime's tools say: {reason}", "try recipe fp32") from error
    finally:
        logging.disable(logging.NOTSET)
    stayed, sizes = _percent_float(proto, made.proto), (made.proto.ByteSize(), proto.ByteSize())
    compared = f"the file has {sizes[0]:,} bytes, as float32 it has {sizes[1]:,}"
    if scheme.weights == "int4" and (sizes[0] >= sizes[1] or stayed > MOST_FLOAT_PERCENT_OF_INT4):
        kept = f"{stayed:.0f} % of the weights would stay float, those of {_readers(made.proto)}"
        reason = kept if stayed > MOST_FLOAT_PERCENT_OF_INT4 else f"it would not become smaller: {compared}"
        raise _refused(source, target, reason, "try recipe int8-dynamic or fp16")
    notes: list[str] = []
    if scheme.weights in ("int8", "int4") and not scheme.symmetric and stayed > MOST_FLOAT_PERCENT:
        notes.append(f"{stayed:.0f} % of the weights stayed float, those of {_readers(made.proto)}")
    if any(node.op_type == "ConvInteger" for node in made.proto.graph.node):
        notes.append(SLOW_CONVOLUTIONS)
    if not scheme.symmetric and sizes[0] >= sizes[1]:  # TensorRT quantizes float weights itself
        notes.append(compared)
    return Quantized(proto=made.proto, settings=made.settings, notes=tuple(notes))


def _refuse_what_no_tool_makes(scheme: Scheme, target: Target, source: Path) -> None:
    way_out = "take a recipe that comes with edge as the pattern, like `int8`"
    if scheme.activations not in MADE[scheme.weights] or scheme.fully_connected:
        also = (
            f" and {scheme.fully_connected} ones in fully connected layers" if scheme.fully_connected else ""
        )
        reason = f"no tool makes {scheme.weights} weights{also} with {scheme.activations} activations"
        raise _refused(source, target, reason, way_out)
    if {scheme.inputs, scheme.outputs} != {"float32"}:
        raise _refused(source, target, "inputs and outputs of ONNX files are float32", way_out)
    if scheme.weights != "float32" and (scheme.weights == "int4") != (scheme.granularity == "block"):
        raise _refused(source, target, "blocks are for int4 weights, and int4 weights are in blocks", way_out)


def _made(
    proto: Any, scheme: Scheme, target: Target, calibration: Data | None, folder: Path, source: Path
) -> Quantized:
    import onnx

    from converters.onnx_static import prepare

    named = onnx.ModelProto()
    named.CopyFrom(proto)
    name_nodes(named)
    if scheme.repairs and not scheme.calibrated and calibration is not None:
        prepared, _ = prepare(named, folder)
        repaired = repair_onnx(prepared, scheme, calibration, onnx_file.inputs(proto), folder)
        named = onnx.load(str(repaired))
        name_nodes(named)
    kept = kept_float(named, scheme.keep_float, source=source, target=target.title)
    if scheme.weights == "float16":
        from converters.onnx_float16 import to_float16

        return Quantized(
            proto=to_float16(named, kept),
            settings={
                "quantizer": "onnxruntime float16",
                "weights": "float16",
                "inputs": "float32",
                "outputs": "float32",
            },
        )
    if scheme.weights == "int4":
        from converters.onnx_int4 import to_int4

        made = to_int4(named, scheme, kept)
        if made is None:
            reason = "no MatMul of it can be int4: only products with constant matrices can"
            raise _refused(source, target, reason, "try recipe int8 or int8-dynamic")
        return Quantized(proto=made, settings={
            "quantizer": "onnxruntime MatMulNBits",
            "weights": f"int4, a scale for each {scheme.block}",
        })  # fmt: skip
    if scheme.calibrated:
        from converters.onnx_static import to_static

        assert calibration is not None, "a calibrated recipe is refused without data before anything starts"
        made, how = to_static(named, scheme, target.architecture, calibration, folder, kept)
    else:
        from converters.onnx_dynamic import to_dynamic

        made, how = to_dynamic(named, scheme, folder, kept)
    if made is None:
        raise _refused(source, target, "none of its operators can be quantized", "use fp32")
    return Quantized(proto=made, settings=how)


def _percent_float(before: Any, after: Any) -> float:
    whole, left = float_weights(before), float_weights(after)
    return 100 * sum(left.values()) / max(sum(whole.values()), 1)


def _readers(proto: Any) -> str:
    """Kinds of operators that read float weights, those with the most bytes first."""
    left = float_weights(proto)
    return ", ".join(sorted(left, key=lambda kind: -left[kind]))


def _refused(source: Path, target: Target, reason: str, way_out: str) -> ModelUnsupported:
    return ModelUnsupported(path=source, target=target.title, reason=reason, way_out=way_out)
