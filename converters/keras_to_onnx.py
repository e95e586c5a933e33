"""Keras to ONNX by tf2onnx, straight to the opset of the boards.

The rule: the result is checked and loaded before it counts, because the converter reports success on files that no
engine takes. The batch axis stays open where it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import ModelUnreadable, ModelUnsupported
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, KerasSource, Staged
from converters.onnx_file import IR_VERSION, OPSET, OnnxFile
from converters.onnx_model import finish


def to_onnx(
    source: KerasSource, target: Target, calibration: Data | None, folder: Path, stage: Staged
) -> Artifact:
    """Make an `.onnx` in `folder`.

    Raises:
        ModelUnsupported: the converter refuses the model, or makes a file that is not valid.
    """
    try:
        with stage("convert to ONNX", target.key):
            proto = _convert(source)
        return finish(
            OnnxFile(proto=proto),
            target,
            calibration,
            folder,
            stage,
            source=source.path,
            settings={"converter": "tf2onnx"},
        )
    except (ModelUnreadable, ValueError, RuntimeError, KeyError) as error:
        reason = (
            error.facts["reason"]
            if isinstance(error, ModelUnreadable)
            else " ".join(str(error).split())[:300]
        )
        raise ModelUnsupported(
            path=source.path,
            target=target.title,
            reason=f"tf2onnx made nothing that is valid: {reason}",
            way_out="try a profile whose boards run TFLite",
        ) from error


def _convert(source: KerasSource) -> Any:
    import tensorflow
    import tf2onnx

    _teach_erfc()
    signature = [
        tensorflow.TensorSpec([source.batch, *spec.shape[1:]], spec.dtype, name=spec.name)
        for spec in source.inputs
    ]

    def answer(*tensors: Any) -> Any:
        outputs = source.model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return tensorflow.nest.flatten(outputs)

    proto, _ = tf2onnx.convert.from_function(
        tensorflow.function(answer), input_signature=signature, opset=OPSET
    )
    proto.ir_version = IR_VERSION
    _name_outputs(proto, [spec.name for spec in source.outputs])
    return proto


def _teach_erfc() -> None:
    """Keras' exact GELU uses Erfc, which tf2onnx leaves in the file unconverted (onnx has Erf): 1 - Erf(x)."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            dtype, shape = ctx.get_dtype(node.output[0]), ctx.get_shape(node.output[0])
            given, made = node.input[0], list(node.output)
            ctx.remove_node(node.name)
            one = ctx.make_const(f"{node.name}_one", np.array(1.0, dtype=np.float32))
            erf = ctx.make_node("Erf", [given], dtypes=[dtype], shapes=[shape])
            ctx.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                name=node.name,
                outputs=made,
                dtypes=[dtype],
                shapes=[shape],
            )


def _name_outputs(proto: Any, names: list[str]) -> None:
    """Give the outputs the names that they have in Keras, where these are free."""
    used = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    for value, name in zip(proto.graph.output, names, strict=True):
        if name in used:
            continue
        for node in proto.graph.node:
            for places in (node.input, node.output):
                for index, found in enumerate(places):
                    if found == value.name:
                        places[index] = name
        value.name = name
