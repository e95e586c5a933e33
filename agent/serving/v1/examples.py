"""TensorFlow Serving's `:classify` and `:regress`, over examples. Imported with the first model: it needs numpy.

The rule: an example is a flat list of values, or one value, for each feature, as in a `tf.train.Example`; the
features are the model's inputs. What the scores say is made by the release's own postprocessing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.contract.errors import RequestInvalid
from agent.contract.manifest import TensorSpec
from agent.serving.apart import LONG_BYTES, Apart
from agent.serving.inference import check_batch
from agent.serving.messages import Request, Response, tensor_json
from agent.serving.tensors import Array
from agent.serving.v1.predict import parse_object
from agent.serving.v1.signatures import (
    CLASSIFY,
    REGRESS,
    answering,
    check_names,
    check_signature,
    ready_model,
)
from agent.serving.v1.values import holds_booleans, tensor
from agent.transforms.pipeline import apply

if TYPE_CHECKING:
    from agent.models import Model
    from agent.serving.served import Served


def classify(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    """`POST /v1/models/M:classify`: for each example its classes, each with label and score.

    Raises:
        RequestInvalid: the request is not as the protocol or the model wants it, or the release is no classification.
        EdgeError: see `Served.run`.
    """
    return _answered(served, request, apart, CLASSIFY, _classes)


def regress(served: Served, request: Request, apart: Apart) -> Response | Awaitable[Response]:
    """`POST /v1/models/M:regress`: for each example its value.

    Raises:
        RequestInvalid: the request is not as the protocol or the model wants it, or the release is no regression.
        EdgeError: see `Served.run`.
    """
    return _answered(served, request, apart, REGRESS, _values)


def _answered(
    served: Served, request: Request, apart: Apart, verb: str, results: Callable[[Model, Array], Any]
) -> Response | Awaitable[Response]:
    model, body = ready_model(served), request.body
    if len(body) > LONG_BYTES:
        return apart.read(
            served.name,
            lambda: _read(model, body, verb),
            lambda arrays: _run(served, model, request, arrays, results),
        )
    return _run(served, model, request, _read(model, body, verb), results)


def _read(model: Model, body: bytes, verb: str) -> list[Array]:
    document = parse_object(body)
    check_signature(model, document, verb)
    examples = _examples(document, model.inputs)
    booleans = holds_booleans(body)
    return [
        tensor([_nested(example[spec.name], spec) for example in examples], spec, dtype, booleans=booleans)
        for spec, dtype in zip(model.inputs, model.input_dtypes)  # noqa: B905 - one type per tensor
    ]


def _run(
    served: Served,
    model: Model,
    request: Request,
    arrays: Sequence[Array],
    results: Callable[[Model, Array], Any],
) -> Response | Awaitable[Response]:
    check_batch(served, model, arrays)
    outcome = served.run(arrays, deadline=request.deadline, priority=request.priority)
    if isinstance(outcome, list):
        return _answer(model, outcome, results)
    return _later(model, outcome, results)


async def _later(
    model: Model, outcome: Awaitable[list[Array]], results: Callable[[Model, Array], Any]
) -> Response:
    return _answer(model, await outcome, results)


def _answer(model: Model, outputs: Sequence[Array], results: Callable[[Model, Array], Any]) -> Response:
    place = model.output_names.index(answering(model).name)
    return Response(200, tensor_json({"results": results(model, outputs[place])}))


def _classes(model: Model, scores: Array) -> list[list[tuple[str, Any]]]:
    """Label and score: the best first where the release says how many, or all in the model's order."""
    steps, labels = model.bundle.manifest.postprocessing, model.labels
    count = next((int(step.parameters["k"]) for step in steps if step.op == "top-k"), None)
    results = []
    for row in scores.reshape(len(scores), scores.shape[-1]):
        row = apply([step for step in steps if step.op != "top-k"], row)
        order = range(len(row)) if count is None else np.argsort(-row, kind="stable")[:count]
        results.append([(labels[place] if place < len(labels) else "", row[place]) for place in order])
    return results


def _values(model: Model, values: Array) -> list[Any]:
    steps = model.bundle.manifest.postprocessing
    return [apply(steps, value).ravel()[0] for value in values.reshape(len(values), 1)]


def _examples(document: Mapping[str, Any], specs: tuple[TensorSpec, ...]) -> list[Mapping[str, Any]]:
    """Each example with what it shares with all others."""
    examples = document.get("examples")
    if not isinstance(examples, list) or not examples:
        raise RequestInvalid(reason="'examples' must be an array that is not empty")
    context = document.get("context", {})
    if not isinstance(context, dict):
        raise RequestInvalid(reason="'context' must be an object of features")
    whole: list[Mapping[str, Any]] = []
    for place, example in enumerate(examples):
        if not isinstance(example, dict):
            raise RequestInvalid(reason=f"'examples' entry {place} must be an object of features")
        twice = context.keys() & example.keys()
        if twice:
            raise RequestInvalid(reason=f"the feature '{min(twice)}' stands in 'context' and in an example")
        whole.append({**context, **example})
        check_names(whole[-1], specs)
    return whole


def _nested(feature: Any, spec: TensorSpec) -> Any:
    """A feature's flat list in the shape of the input's samples, where it is as long as that; else as it is."""
    told = spec.shape[1:]
    if not isinstance(feature, list):
        return feature if not told or isinstance(feature, dict) else _nested([feature], spec)
    if not told:
        return feature[0] if len(feature) == 1 else feature
    if len(told) > 1 and -1 not in told and len(feature) == math.prod(told):
        for length in reversed(told[1:]):
            feature = [feature[start : start + length] for start in range(0, len(feature), length)]
    return feature
