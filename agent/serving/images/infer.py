"""A picture to an answer, by the release's own steps. Imported with the first picture: it needs numpy.

The rule: decoding, preprocessing and postprocessing happen in one thread for all models, so that no other client waits
for them and memory is taken for one picture at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.contract.errors import ImageNotTaken, ModelUnavailable
from agent.models import Model, ordered
from agent.serving.images.pictures import picture_sample
from agent.serving.messages import Request, Response, tensor_json
from agent.transforms.answers import answer

if TYPE_CHECKING:
    from agent.serving.apart import Apart
    from agent.serving.served import Served
    from agent.serving.tensors import Array
    from agent.transforms.inputs import Sample


async def infer(served: Served, request: Request, apart: Apart) -> Response:
    """Answer one request.

    Raises:
        Overloaded: too many pictures wait.
        ImageError, RequestInvalid: the picture.
        InferenceFailed: see `Served.run`.
    """
    model = served.model
    if model is None:
        raise ModelUnavailable(model=served.name)

    async def run(sample: Sample) -> Response:
        outcome = served.run([sample.array], deadline=request.deadline, priority=request.priority)
        outputs = outcome if isinstance(outcome, list) else await outcome
        return await apart.do(_answer, served, model, outputs, sample)

    return await apart.read(served.name, lambda: _read(model, request.body), run)


def _read(model: Model, data: bytes) -> Sample:
    if model.fixed_batch not in (None, 1):
        name = model.bundle.manifest.model
        raise ImageNotTaken(model=name, reason=f"it takes {model.fixed_batch} samples at once")
    return picture_sample(model, data)


def _answer(served: Served, model: Model, outputs: Sequence[Array], sample: Sample) -> Response:
    manifest = model.bundle.manifest
    in_order = ordered(outputs, model.outputs, manifest.outputs)
    found = answer(
        manifest.task,
        manifest.postprocessing,
        {spec.name: output for spec, output in zip(manifest.outputs, in_order)},  # noqa: B905 - one each
        labels=model.labels,
        frame=sample.frame,
    )
    which = {
        "model": served.name,
        "version": str(served.version),
        "release": served.release,
        "task": manifest.task.value,
    }
    return Response(200, tensor_json({**which, **found}))
