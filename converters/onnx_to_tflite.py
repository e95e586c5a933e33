"""ONNX to TFLite by onnx2tf, in an environment and a process of its own.

The rule: the artifact takes what the ONNX model takes, in the same layout, batch 1; recurrent layers are unrolled. A
model that came from Keras is sent back there: its pictures are NHWC, which onnx2tf would lay out anew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.contract.errors import ModelUnsupported
from converters import onnx_file
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged
from converters.tflite_artifact import artifact

FROM_NHWC = [0, 3, 1, 2]
"""Axes of the first step that a converter from Keras puts before a convolution."""
KERAS_WAY_OUT = "convert the Keras model it was made from"


def to_tflite(
    path: Path,
    proto: Any,
    target: Target,
    calibration: Data | None,
    folder: Path,
    stage: Staged,
    *,
    python: Path,
) -> Artifact:
    """Make a `.tflite` in `folder`.

    Args:
        path: the model, for sentences.
        proto: onnx.ModelProto.
        target: what to make.
        calibration: representative inputs, where the recipe needs them.
        folder: where to.
        stage: measures.
        python: interpreter of onnx2tf's environment.

    Raises:
        ModelUnsupported: it came from Keras, its shapes are open, or onnx2tf refuses it.
    """
    _refuse(path, proto, target)
    given, made = folder / f"{target.key}.given.onnx", folder / f"{target.key}.onnx2tf"
    given.write_bytes(proto.SerializeToString())
    with stage("convert to TFLite", target.key):
        command = [str(python), "-I", str(Path(__file__).with_name("onnx2tf_step.py")), str(given), str(made)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr, check=False
        )
    found = made / "float32.tflite"
    if done.returncode or not found.exists():
        raise ModelUnsupported(
            path=path,
            target=target.title,
            reason=f"onnx2tf could not convert it (exit code {done.returncode})",
            way_out="convert the model it was made from, or take a profile whose boards run ONNX",
        )
    result = artifact(
        found,
        target,
        calibration,
        folder,
        stage,
        settings={"converter": "onnx2tf"},
        notes=("the batch is fixed to 1",),
        source=path,
    )
    _check_shapes(path, proto, target, result)
    return result


def _refuse(path: Path, proto: Any, target: Target) -> None:
    reason = way_out = ""
    if _from_keras(proto):
        reason = "it came from Keras, with pictures as NHWC, which onnx2tf would lay out anew"
        way_out = KERAS_WAY_OUT
    elif any(axis < 0 for spec in onnx_file.inputs(proto) for axis in spec.shape[1:]):
        shapes = ", ".join(str(list(spec.shape)) for spec in onnx_file.inputs(proto))
        reason, way_out = f"its input has open axes: {shapes}", "export it with a fixed input shape"
    if reason:
        raise ModelUnsupported(path=path, target=target.title, reason=reason, way_out=way_out)


def _from_keras(proto: Any) -> bool:
    """Whether tf2onnx made it, or every use of a picture begins by turning NHWC into NCHW."""
    pictures = {spec.name for spec in onnx_file.inputs(proto) if len(spec.shape) == 4}
    if not pictures:
        return False
    uses = [node for node in proto.graph.node if pictures & set(node.input)]
    turned = [
        node
        for node in uses
        if node.op_type == "Transpose" and list(node.attribute[0].ints if node.attribute else ()) == FROM_NHWC
    ]
    return proto.producer_name == "tf2onnx" or (bool(uses) and len(turned) == len(uses))


def _check_shapes(path: Path, proto: Any, target: Target, result: Artifact) -> None:
    """Raise ModelUnsupported where a tensor was laid out anew."""
    pairs = [
        *zip(onnx_file.inputs(proto), result.inputs, strict=True),
        *zip(onnx_file.outputs(proto), result.outputs, strict=True),
    ]
    for was, became in pairs:
        if was.shape[1:] != became.shape[1:]:
            raise ModelUnsupported(
                path=path,
                target=target.title,
                reason=f"onnx2tf made {list(became.shape)} of `{was.name}` {list(was.shape)}",
                way_out="convert the model it was made from, or take a profile whose boards run ONNX",
            )
