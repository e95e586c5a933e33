"""Keras models: `.keras` and `.h5`, read in safe mode, frozen, handed to TFLite or ONNX.

The rule: a file that carries Python code is refused before TensorFlow is started. What is converted is the frozen
graph of the model's inference; recurrent layers are unrolled for TFLite, because its quantizer crashes on loops and
its converter drops their weights.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ModelHoldsCode, ModelUnreadable, ModelUnsupported
from agent.contract.manifest import ModelFormat, TensorSpec
from converters.calibration.data import Data
from converters.fine_tuning import STEPS, can_learn, fine_tune
from converters.job import Target
from converters.keras_code import code_in, kept_elsewhere, objects
from converters.models import Artifact, Staged, open_axes, scores
from converters.recipe import FINE_TUNING
from converters.run_set import store
from converters.source import SourceFormat

RECURRENT = {"LSTM", "GRU", "SimpleRNN"}
MOST_STEPS = 1024
"""Longer sequences would unroll into a graph that no board loads."""
BATCH = 64


class KerasModel:
    """See `converters.models.Model`."""

    batch: int | None = None

    def __init__(self, path: Path, kind: SourceFormat, stage: Staged) -> None:
        self.path = path
        self._refuse_code(_config(path, kind), kind)
        with stage("start TensorFlow"):
            import keras
            import tensorflow
        self.versions: Mapping[str, str] = {"tensorflow": tensorflow.__version__, "keras": keras.__version__}
        self.answered_by = f"keras {keras.__version__}"
        self.can_answer = True
        with stage("load the model"):
            self.model = _load(path, kind)
        self._refuse_broken_weights()
        if not getattr(self.model, "inputs", None):
            raise self._unsupported(
                "an artifact", "it doesn't say what its inputs are", "build it before it is saved"
            )
        names = _names(self.model)
        self.inputs = tuple(
            _spec(tensor, name) for tensor, name in zip(self.model.inputs, names, strict=True)
        )
        self.outputs = tuple(
            _spec(tensor, name)
            for tensor, name in zip(self.model.outputs, _output_names(self.model), strict=True)
        )
        self.probabilities = _ends_in_softmax(self.model)
        self.recurrent = sorted(
            {layer for layer in _class_names(self.model.get_config()) if layer in RECURRENT}
        )

    @property
    def classes(self) -> int | None:
        """Scores of the first output, or None."""
        return scores(self.outputs)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs by Keras itself."""
        import keras

        given = [store(array, spec) for array, spec in zip(inputs, self.inputs, strict=True)]
        answers = self.model.predict(given[0] if len(given) == 1 else given, batch_size=BATCH, verbose=0)
        return [np.asarray(array) for array in keras.tree.flatten(answers)]

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """See `converters.models.Model`."""
        if (reason := open_axes(self.inputs)) is not None:
            way_out = (
                "build it with that length in `keras.Input(…)`, take over its weights, and save it again"
            )
            raise self._unsupported(target.format.value, reason, way_out)
        if FINE_TUNING in target.recipe.scheme(target.format).repairs:
            return self._fine_tuned(target, calibration, folder, stage)
        if target.format is ModelFormat.TFLITE:
            from converters.keras_to_tflite import to_tflite

            return to_tflite(self, target, calibration, folder, stage)
        from converters.keras_to_onnx import to_onnx

        return to_onnx(self, target, calibration, folder, stage)

    def _fine_tuned(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """The artifact of a copy whose weights were trained to be rounded; its files lie apart until it is made."""
        scheme = target.recipe.scheme(target.format)
        if calibration is None or not can_learn(calibration, self.classes):
            raise self._unsupported(
                target.title,
                "it is fine-tuned, which takes a classifier and calibration data with a class for each sample",
                "give `y` beside `x` in the calibration data",
            )
        learned, apart = copy.copy(self), folder / f"{target.key}-{FINE_TUNING}"
        apart.mkdir(exist_ok=True)
        with stage("fine-tune", target.key):
            try:
                learned.model = fine_tune(self.model, calibration, scheme, probabilities=self.probabilities)
            except Exception as error:  # Keras raises whatever the layer does that can't be trained so
                reason = f"it can't be fine-tuned: {' '.join(str(error).split())[:300]}"
                raise self._unsupported(
                    target.title, reason, f"take a recipe without {FINE_TUNING}"
                ) from error
        rest = replace(scheme, repairs=tuple(name for name in scheme.repairs if name != FINE_TUNING))
        recipe = target.recipe
        tflite = target.format is ModelFormat.TFLITE
        recipe = replace(recipe, tflite=rest) if tflite else replace(recipe, onnx=rest)
        made = learned.convert(replace(target, recipe=recipe), calibration, apart, stage)
        note = f"its weights were trained anew, {STEPS} steps on {calibration.samples:,} labelled calibration samples"
        return replace(made, path=made.path.replace(folder / made.path.name), notes=(*made.notes, note))

    def unrolled(self) -> Any:
        """The model with its recurrent layers unrolled; itself where it has none.

        Raises:
            ModelUnsupported: its sequences are too long for that.
        """
        if not self.recurrent:
            return self.model
        longest = max((spec.shape[1] for spec in self.inputs if len(spec.shape) > 1), default=0)
        if longest > MOST_STEPS:
            raise self._unsupported(
                "tflite",
                f"{', '.join(self.recurrent)} over {longest} steps can't be unrolled",
                "convert it for ONNX",
            )
        config = _unroll(self.model.get_config())
        again = self.model.__class__.from_config(config)
        again.set_weights(self.model.get_weights())
        return again

    def _unsupported(self, target: str, reason: str, way_out: str) -> ModelUnsupported:
        return ModelUnsupported(path=self.path, target=target, reason=reason, way_out=way_out)

    def _refuse_broken_weights(self) -> None:
        for variable in self.model.variables:
            values = np.asarray(variable)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise self._unsupported(
                    "an artifact",
                    f"its weights `{variable.path}` hold NaN or infinity",
                    "take a checkpoint of the training from before they did",
                )

    def _refuse_code(self, config: Any, kind: SourceFormat) -> None:
        reason = code_in(config)
        if reason is not None:
            raise ModelHoldsCode(path=self.path, reason=reason)
        if not isinstance(config, dict):
            raise ModelUnreadable(path=self.path, format=kind.label, reason="it holds weights but no model")
        elsewhere = kept_elsewhere(self.path, kind)
        if elsewhere is not None:
            reason = f"`{elsewhere}` in it is kept in another file"
            raise ModelUnreadable(path=self.path, format=kind.label, reason=reason)


def _config(path: Path, kind: SourceFormat) -> Any:
    """The model's configuration, read without Keras."""
    try:
        if kind is SourceFormat.KERAS:
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            return None if text is None else json.loads(text)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelUnreadable(path=path, format=kind.label, reason=str(error)) from error


def _load(path: Path, kind: SourceFormat) -> Any:
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the layer that it can't build raises
        reason = " ".join(str(error).split())[:300]
        if "safe_mode" in reason or "unsafe" in reason.lower():
            raise ModelHoldsCode(path=path, reason=reason) from error
        raise ModelUnreadable(path=path, format=kind.label, reason=reason) from error


def _class_names(config: Any) -> set[str]:
    """Every `class_name` in a configuration, however deep."""
    return {str(item["class_name"]) for item in objects(config) if "class_name" in item}


def _unroll(config: Any) -> Any:
    if isinstance(config, dict):
        changed = {key: _unroll(value) for key, value in config.items()}
        if changed.get("class_name") in RECURRENT and isinstance(changed.get("config"), dict):
            changed["config"]["unroll"] = True
        return changed
    if isinstance(config, list | tuple):
        return type(config)(_unroll(item) for item in config)
    return config


def _names(model: Any) -> list[str]:
    """Names of the inputs, made unique, without what file formats don't take."""
    names: list[str] = []
    for index, tensor in enumerate(model.inputs):
        name = str(tensor.name).split(":", maxsplit=1)[0].replace("/", "_") or f"input_{index}"
        names.append(name if name not in names else f"{name}_{index}")
    return names


def _output_names(model: Any) -> list[str]:
    """Names of the layers that make the outputs; of the tensors where these are not one each."""
    tensors = [str(tensor.name) for tensor in model.outputs]
    makers = [getattr(tensor, "_keras_history", None) for tensor in model.outputs]
    layers = [str(maker.operation.name) for maker in makers if maker is not None]
    return layers if len(set(layers)) == len(tensors) else tensors


def _spec(tensor: Any, name: str) -> TensorSpec:
    shape = tuple(-1 if axis is None else int(axis) for axis in tensor.shape)
    return TensorSpec(name=str(name), dtype=str(tensor.dtype), shape=shape)


def _ends_in_softmax(model: Any) -> bool:
    """Whether the layer that makes the first output is a softmax or ends in one."""
    layers = [layer for layer in model.layers if getattr(layer, "output", None) is model.outputs[0]]
    last = (layers or model.layers)[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    return activation == "softmax" or type(last).__name__ == "Softmax"
