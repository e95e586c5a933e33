"""A picture to an answer, by the release's own steps. Imported with the first picture: it needs numpy.

The rule: decoding, preprocessing and postprocessing happen in one thread for all models, so that no other client waits
for them and memory is taken for one picture at a time; how many may wait for it is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from agent.contract.errors import ImageNotTaken, ModelUnavailable, Overloaded
from agent.models import Model, ordered
from agent.serving.messages import Request, Response, tensor_json
from agent.signals import leave_signals
from agent.transforms.answers import answer, check_postprocessing
from agent.transforms.inputs import Sample, read_sample
from agent.transforms.pipeline import check_steps

if TYPE_CHECKING:
    from agent.serving.served import Served
    from agent.serving.tensors import Array

T = TypeVar("T")
WAITING = 16
"""Pictures that may wait to be decoded."""


class Door:
    """Takes pictures for all models."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "images", leave_signals)
        self._waiting = 0
        self._checked: WeakSet[Model] = WeakSet()

    async def __call__(self, served: Served, request: Request) -> Response:
        """Answer one request.

        Raises:
            Overloaded: too many pictures wait.
            ImageError, RequestInvalid: the picture.
            InferenceFailed: see `Served.run`.
        """
        model = served.model
        if model is None:
            raise ModelUnavailable(model=served.name)
        if self._waiting >= WAITING:
            raise Overloaded(model=served.name)
        sample = await self._in_thread(self._read, model, request.body)
        outcome = served.run([sample.array], deadline=request.deadline, priority=request.priority)
        outputs = outcome if isinstance(outcome, list) else await outcome
        return await self._in_thread(self._answer, served, model, outputs, sample)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(function, *arguments))
        finally:
            self._waiting -= 1

    def _read(self, model: Model, data: bytes) -> Sample:
        manifest = model.bundle.manifest
        if model not in self._checked:
            check_steps(manifest.preprocessing)
            check_postprocessing(manifest.task, manifest.postprocessing)
            self._checked.add(model)
        if model.fixed_batch not in (None, 1):
            raise ImageNotTaken(model=manifest.model, reason=f"it takes {model.fixed_batch} samples at once")
        return read_sample(data, manifest)

    def _answer(self, served: Served, model: Model, outputs: Sequence[Array], sample: Sample) -> Response:
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
