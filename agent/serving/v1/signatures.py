"""The signatures of a release: what TensorFlow Serving's clients may ask of it, by name.

The rule: a release's task declares them. Every model has `serving_default`, tensors in and tensors out; a
classification has `classification` beside it, a regression of one number `regression`, over examples whose features are
the model's inputs, by the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ModelUnavailable, RequestInvalid
from agent.contract.manifest import Task, TensorSpec

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served

PREDICT, CLASSIFY, REGRESS = "predict", "classify", "regress"
DEFAULT = "serving_default"
METHODS: Mapping[str, str] = {verb: f"tensorflow/serving/{verb}" for verb in (PREDICT, CLASSIFY, REGRESS)}
"""A signature's `method_name`, by the verb of its path."""
_NOUNS: Mapping[str, str] = {CLASSIFY: "classification", REGRESS: "regression"}


def signatures(model: Model) -> dict[str, str]:
    """The model's signatures: name to verb."""
    task, shape = model.bundle.manifest.task, answering(model).shape
    if task is Task.CLASSIFICATION and len(shape) > 1 and _is_one(shape[1:-1]):
        return {DEFAULT: PREDICT, _NOUNS[CLASSIFY]: CLASSIFY}
    if task is Task.REGRESSION and len(model.outputs) == 1 and _is_one(shape[1:]):
        return {DEFAULT: PREDICT, _NOUNS[REGRESS]: REGRESS}
    return {DEFAULT: PREDICT}


def answering(model: Model) -> TensorSpec:
    """The output that the task is about: the first one that the manifest names."""
    return model.bundle.manifest.outputs[0]


def check_signature(model: Model, document: Mapping[str, Any], verb: str) -> None:
    """Refuse a verb that the model has no signature for, or a `signature_name` that is none of this verb's.

    Without a name, `:classify` and `:regress` mean the one signature that they can mean.

    Raises:
        RequestInvalid: so.
    """
    name = document.get("signature_name", "")
    if verb == PREDICT and name in ("", DEFAULT):
        return
    if not isinstance(name, str):
        raise RequestInvalid(reason="'signature_name' key must be a string value")
    declared = signatures(model)
    found = declared.get(name) if name else verb if verb in declared.values() else PREDICT
    if found is None:
        raise RequestInvalid(reason=f'Serving signature name: "{name}" not found in signature def')
    if found != verb:
        raise RequestInvalid(
            reason=f"Expected {_NOUNS.get(verb, 'prediction')} signature method_name to be {METHODS[verb]}. "
            f"Was: {METHODS[found]}"
        )


def ready_model(served: Served) -> Model:
    """Its model.

    Raises:
        ModelUnavailable: it is not loaded.
    """
    if served.model is None:
        raise ModelUnavailable(model=served.name)
    return served.model


def check_names(found: Mapping[str, Any], specs: tuple[TensorSpec, ...]) -> None:
    """Refuse values that are not exactly one for each of the model's inputs.

    Raises:
        RequestInvalid: so.
    """
    names = [spec.name for spec in specs]
    for name in found:
        if name not in names:
            raise RequestInvalid(reason=f"'{name}' is no input of the model; it takes {', '.join(names)}")
    missing = [name for name in names if name not in found]
    if missing:
        raise RequestInvalid(reason=f"the input '{missing[0]}' is missing")


def _is_one(lengths: tuple[int, ...]) -> bool:
    """Whether axes of these lengths hold one value."""
    return all(length == 1 for length in lengths)
