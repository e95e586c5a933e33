"""TensorFlow SavedModels: one signature of the folder, frozen and handed to TFLite or ONNX.

The rule: the folder is judged before anything of it is loaded. A signature is never guessed where there are several.
What holds a loop (LSTM, GRU) becomes TFLite with a fixed batch alone, and never integers: TensorFlow's converter fails
on the one and crashes on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ModelUnreadable, ModelUnsupported, SignatureUnknown
from agent.contract.manifest import ModelFormat, TensorSpec
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged, scores
from converters.run_set import store
from converters.saved_model_code import read_without_code
from converters.source import SourceFormat

BATCH = 64
LOOPS = {"While", "StatelessWhile", "TensorListReserve", "TensorListFromTensor"}
INITIALIZER = "__saved_model_init_op"
TWICE = {"serve", "serving_default"}
"""Names under which Keras writes one and the same signature."""
PASSING = {"Identity", "IdentityN", "Reshape", "Cast", "Squeeze"}


class SavedModel:
    """See `converters.models.Model` and `converters.models.KerasSource`."""

    recurrent: list[str] = []  # noqa: RUF012 - nothing in it can be unrolled

    def __init__(self, path: Path, signature: str | None, stage: Staged) -> None:
        self.path = path
        with stage("start TensorFlow"):
            import tensorflow
        self.versions: Mapping[str, str] = {"tensorflow": tensorflow.__version__}
        self.answered_by = f"tensorflow {tensorflow.__version__}"
        self.can_answer = True
        meta = read_without_code(path)
        known = set(meta.signature_def) - {INITIALIZER}
        self.signature = _choose(path, signature, sorted(known - ({"serve"} if known == TWICE else set())))
        with stage("load the model"):
            try:
                self._loaded = tensorflow.saved_model.load(str(path))
                self._function = self._loaded.signatures[self.signature]
                self.probabilities = _ends_in_softmax(self._function)
            except Exception as error:  # TensorFlow raises whatever the part that it can't read raises
                reason = " ".join(str(error).split())[:300]
                raise ModelUnreadable(
                    path=path, format=SourceFormat.SAVED_MODEL.label, reason=reason
                ) from error
        self.inputs = _specs(self._function.structured_input_signature[1])
        self.outputs = _specs(self._function.structured_outputs)
        self.batch: int | None = 1 if any(spec.shape[:1] == (1,) for spec in self.inputs) else None
        self.model: Any = self._call
        self.loops = bool(LOOPS & _operators(self._function))
        self._refuse_shapes()

    def _refuse_shapes(self) -> None:
        wrong = [spec for spec in self.inputs if not spec.shape or spec.shape[0] not in (1, -1)]
        if wrong or not self.inputs:
            raise self._unsupported(
                "an artifact for boards",
                "its inputs don't begin with a batch of 1 or any length",
                "export it with an open batch axis",
            )

    @property
    def classes(self) -> int | None:
        """Scores of the first output, or None."""
        return scores(self.outputs)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs by TensorFlow."""
        import tensorflow

        given = [store(array, spec) for array, spec in zip(inputs, self.inputs, strict=True)]
        size, found = self.batch or BATCH, []
        for at in range(0, len(given[0]), size):
            tensors = [tensorflow.constant(array[at : at + size]) for array in given]
            found.append([np.asarray(tensor) for tensor in self.model(tensors)])
        return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]

    def _call(self, tensors: Any, training: bool = False) -> list[Any]:
        """Call the signature with tensors in the order of `inputs`; outputs in the order of `outputs`."""
        given = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
        named = {spec.name: tensor for spec, tensor in zip(self.inputs, given, strict=True)}
        answers = self._function(**named)
        return [answers[spec.name] for spec in self.outputs]

    def unrolled(self) -> Any:
        """The model as it is: the layers of a SavedModel are gone, and nothing can be unrolled."""
        return self.model

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """See `converters.models.Model`."""
        if any(axis < 0 for spec in self.inputs for axis in spec.shape[1:]):
            shapes = ", ".join(str(list(spec.shape)) for spec in self.inputs)
            raise self._unsupported(
                target.title, f"its input has open axes: {shapes}", "export it with a fixed input shape"
            )
        if target.format is ModelFormat.TFLITE:
            from converters.keras_to_tflite import to_tflite

            self._refuse_loops(target)
            return to_tflite(self, target, calibration, folder, stage)
        from converters.keras_to_onnx import to_onnx

        return to_onnx(self, target, calibration, folder, stage)

    def _refuse_loops(self, target: Target) -> None:
        """Refuse what TensorFlow's converter makes wrongly, or not at all."""
        way_out = (
            "give the Keras model itself (.keras or .h5), which edge unrolls, or take boards that run ONNX"
        )
        if self.loops and self.batch is None:
            raise self._unsupported(
                target.title, "it holds a loop (LSTM, GRU or the like) with an open batch axis", way_out
            )
        if self.loops and target.recipe.scheme(target.format).calibrated:
            raise self._unsupported(
                target.title,
                "it holds a loop (LSTM, GRU or the like), on which TensorFlow's calibration crashes",
                way_out,
            )

    def _unsupported(self, target: str, reason: str, way_out: str) -> ModelUnsupported:
        return ModelUnsupported(path=self.path, target=target, reason=reason, way_out=way_out)


def _choose(path: Path, asked: str | None, known: list[str]) -> str:
    """The signature to convert.

    Raises:
        ModelUnsupported: there is none.
        SignatureUnknown: none was named where there are several, or one that is not there.
    """
    if not known:
        raise ModelUnsupported(
            path=path,
            target="an artifact for boards",
            reason="it holds no signature",
            way_out="save it with tf.saved_model.save(model, folder, signatures=...)",
        )
    if asked is None and len(known) == 1:
        return known[0]
    if asked in known:
        return asked
    said = f"`{asked}` is none of them" if asked else "none is named"
    raise SignatureUnknown(path=path, count=len(known), asked=said, known=", ".join(known))


def _specs(tensors: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=name,
            dtype=str(tensor.dtype.name),
            shape=tuple(-1 if axis is None else int(axis) for axis in tensor.shape),
        )
        for name, tensor in sorted(tensors.items())
    )


def _operators(function: Any) -> set[str]:
    """Names of the operators of a function and of those that it calls."""
    graph = function.graph.as_graph_def()
    inner = [node for called in graph.library.function for node in called.node_def]
    return {node.op for node in (*graph.node, *inner)}


def _ends_in_softmax(function: Any) -> bool:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    names = sorted(function.structured_outputs)
    tensor = (
        frozen.structured_outputs[names[0]]
        if isinstance(frozen.structured_outputs, dict)
        else frozen.outputs[0]
    )
    maker = tensor.op
    while maker.type in PASSING and maker.inputs:
        maker = maker.inputs[0].op
    return bool(maker.type == "Softmax")
