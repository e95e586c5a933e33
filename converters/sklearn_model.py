"""scikit-learn models (skops, or pickles that are trusted) to ONNX by skl2onnx.

The rule: of a skops file nothing is made that could run code; types that skops does not know are refused by
name. A classifier answers probabilities first and then labels, a regressor values; one input of float32 features.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import ModelHoldsCode, ModelUnreadable, ModelUnsupported
from agent.contract.manifest import TensorSpec
from converters.calibration.data import Data
from converters.job import Target
from converters.models import Artifact, Staged, scores
from converters.onnx_file import IR_VERSION, OPSET, OnnxFile
from converters.onnx_model import finish
from converters.onnx_opset import merge_opsets
from converters.source import SourceFormat

INPUT = "features"
TAKEN = {
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
}
"""Types that skops leaves to its user. A tree with wrong indices crashes the process that asks it, which is a child
here and is told as that; an optimizer is numbers that nothing reads."""
ML_OPSET = 3
"""Of the operators of trees and the like; the newest that ONNX Runtime 1.15 runs."""


class SklearnModel:
    """See `converters.models.Model`."""

    def __init__(self, path: Path, kind: SourceFormat, stage: Staged) -> None:
        self.path = path
        with stage("start scikit-learn"):
            import sklearn
        self.versions: Mapping[str, str] = {"scikit-learn": sklearn.__version__}
        self.answered_by = f"scikit-learn {sklearn.__version__}"
        self.can_answer = True
        with stage("load the model"), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            self.model = _from_skops(path) if kind is SourceFormat.SKOPS else _from_pickle(path)
        self._notes = tuple(
            f"it was saved by another scikit-learn than {sklearn.__version__}, which read it"
            for warning in said[:1]
            if type(warning.message).__name__ == "InconsistentVersionWarning"
        )
        features = getattr(self.model, "n_features_in_", None)
        if not isinstance(self.model, sklearn.base.BaseEstimator) or features is None:
            raise self._unsupported(
                "an artifact for boards", "it is no fitted scikit-learn model", "fit it before it is saved"
            )
        self.classifier = sklearn.base.is_classifier(self.model)
        self.inputs: tuple[TensorSpec, ...] = (
            TensorSpec(name=INPUT, dtype="float32", shape=(-1, int(features))),
        )
        self.outputs = self._outputs(int(features))
        self.probabilities = self.classifier and hasattr(self.model, "predict_proba")

    def _outputs(self, features: int) -> tuple[TensorSpec, ...]:
        """As `answer` says them; it is asked once."""
        try:
            answers = self._answer(np.zeros((2, features), np.float32))
        except (ValueError, TypeError, AttributeError) as error:
            raise self._unsupported(
                "an artifact for boards",
                f"it does not take one table of numbers: {error}",
                "fit it on one array of features",
            ) from error
        names = ("probabilities", "label") if self.classifier else ("values",)
        return tuple(
            TensorSpec(name=name, dtype=str(array.dtype), shape=(-1, *array.shape[1:]))
            for name, array in zip(names, answers, strict=False)
        )

    @property
    def classes(self) -> int | None:
        """Scores of the first output of a classifier, or None."""
        return scores(self.outputs) if self.classifier else None

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Its outputs by scikit-learn."""
        return self._answer(inputs[0].astype(np.float32, copy=False))

    def _answer(self, x: NDArray[np.float32]) -> list[NDArray[Any]]:
        if not self.classifier:
            values = np.asarray(self.model.predict(x))
            return [values.reshape(len(x), -1).astype(np.float32)]
        scored = [self._scores(x).astype(np.float32)]
        return [*scored, np.asarray(self.model.predict(x)).astype(np.int64)] if self._numbered else scored

    def _scores(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Probabilities `[N, classes]`; decision values where it has none."""
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(x))
        values = np.asarray(self.model.decision_function(x))
        return values if values.ndim == 2 else np.stack([-values, values], axis=1)

    @property
    def _numbered(self) -> bool:
        """Whether its labels are whole numbers, which a tensor can hold."""
        return bool(np.asarray(self.model.classes_).dtype.kind in "iu")

    def convert(self, target: Target, calibration: Data | None, folder: Path, stage: Staged) -> Artifact:
        """See `converters.models.Model`."""
        with stage("convert to ONNX", target.key):
            proto = self._to_onnx(target)
        return finish(
            OnnxFile(proto=proto, notes=(*self._notes, *self._label_notes())),
            target,
            calibration,
            folder,
            stage,
            source=self.path,
            settings={"converter": "skl2onnx"},
        )

    def _to_onnx(self, target: Target) -> Any:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        options = {id(self.model): {"zipmap": False}} if self.classifier else None
        try:
            proto = to_onnx(
                self.model,
                initial_types=[(INPUT, FloatTensorType([None, self.inputs[0].shape[1]]))],
                options=options,
                target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            )
        except Exception as error:  # skl2onnx raises its own, onnx's and plain ones for the same reasons
            reason = " ".join(str(error).split())[:300]
            raise self._unsupported(
                target.title,
                f"skl2onnx says of {type(self.model).__name__}: {reason}",
                "HistGradientBoosting has no way to ONNX in this skl2onnx: use GradientBoosting or RandomForest"
                if "HistGradientBoosting" in reason + repr(self.model)
                else "use another kind of model",
            ) from error
        _tidy(proto, [spec.name for spec in self.outputs])
        return proto

    def _label_notes(self) -> tuple[str, ...]:
        if not self.classifier:
            return ()
        classes = np.asarray(self.model.classes_)
        if self._numbered and np.array_equal(classes, np.arange(len(classes))):
            return ()
        shown = ", ".join(str(name) for name in classes[:20])
        dropped = "" if self._numbered else "; labels that are texts are no output of the artifact"
        return (f"its classes are, in the order of its scores: {shown}{dropped}",)

    def _unsupported(self, target: str, reason: str, way_out: str) -> ModelUnsupported:
        return ModelUnsupported(path=self.path, target=target, reason=reason, way_out=way_out)


def _from_skops(path: Path) -> Any:
    from skops import io

    try:
        asked = io.get_untrusted_types(file=path)
        if unknown := [name for name in asked if name not in TAKEN]:
            raise ModelHoldsCode(path=path, reason=f"types that skops does not know: {', '.join(unknown)}")
        return io.load(path, trusted=asked)
    except ModelHoldsCode:
        raise
    except Exception as error:  # skops raises whatever the part that it can't read raises
        reason = " ".join(str(error).split())[:300]
        raise ModelUnreadable(path=path, format=SourceFormat.SKOPS.label, reason=reason) from error


def _from_pickle(path: Path) -> Any:
    """Only for a file that the user trusts."""
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # a pickle raises whatever it likes
        reason = " ".join(str(error).split())[:300]
        raise ModelUnreadable(path=path, format=SourceFormat.PICKLE.label, reason=reason) from error


def _tidy(proto: Any, names: list[str]) -> None:
    """Each set of operators once, outputs under our names and in our order: skl2onnx says labels first."""
    merge_opsets(proto)
    proto.ir_version = IR_VERSION
    found = list(proto.graph.output)
    if len(found) > 1:  # labels, then scores
        found = [found[1], found[0]]
    del proto.graph.output[:]
    proto.graph.output.extend(found[: len(names)])
    for value, name in zip(proto.graph.output, names, strict=True):
        _rename(proto.graph, value.name, name)
        value.name = name


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for places in (node.input, node.output):
            for index, name in enumerate(places):
                if name == old:
                    places[index] = new
