"""One model that is served, and the queue before it.

The rule: one that is measured to be quick runs on the event loop itself, since crossing to another thread would cost
more than the run; a slow one, or a large batch, runs in the model's own lanes, behind a bounded queue that says no when
it is full. So no model's slow runs hold up another's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.contract.errors import EdgeError, ModelUnavailable, RequestExpired, RequestInvalid
from agent.contract.names import parse_release
from agent.metrics import ModelMetrics, ModelSample
from agent.serving.lanes import Lanes
from agent.serving.pace import Pace
from agent.serving.queue import Bounds
from agent.serving.strain import Strain, ease

if TYPE_CHECKING:
    from agent.contract.release import GenerationModel
    from agent.models import Model
    from agent.serving.cache import Key, ResultCache
    from agent.serving.preparing import Prepared
    from agent.serving.tensors import Array

LONGEST_INLINE_S = 2e-3
"""What one request may keep the event loop from others."""
BOUNDS = Bounds(requests=64, size_bytes=64 * 1024 * 1024)
"""Of what may wait for one model, where nobody says otherwise."""

LOADING, READY, FAILED = "loading", "ready", "failed"
UNLOADING, UNLOADED = "unloading", "unloaded"


Seen = Callable[["Sequence[Array]", "list[Array]"], object]


class Served:
    """A model under the name that it is served by.

    Attributes:
        entry: as its generation has it.
        name, version, release, bundle: which.
        role, share: how it takes part, as in its `GenerationModel`.
        state: `loading`, `ready`, `failed` (`error` says why), `unloading` or `unloaded`.
        model: when it is ready.
        form: what version 2 of the protocol worked out of it; it goes with the model.
        run_s: seconds of one batch-1 run, measured when it was loaded.
        most_samples: of one request.
        metrics: its counters. under_way: requests that found it and are not answered yet.
        cache: where answers are kept, if they are.
        seen: is told of each request's inputs and outputs that was run; None: nobody wants to know.
    """

    def __init__(self, entry: GenerationModel, metrics: ModelMetrics | None = None) -> None:
        self.entry = entry
        self.name = entry.name
        self.release = entry.release
        self.version = parse_release(entry.release)[1]
        self.bundle = entry.bundle
        self.role = entry.role.value
        self.share = entry.share
        self.state = LOADING
        self.error: EdgeError | None = None
        self.model: Model | None = None
        self.form: Any = None
        self.run_s = 0.0
        self.metrics = ModelMetrics() if metrics is None else metrics
        self.under_way = 0
        self.cache: ResultCache | None = None
        self.seen: Seen | None = None
        self._budgets = entry.budgets
        self._strain = Strain()
        self._prepared: Prepared | None = None
        self._most_inline = self.most_samples = 0
        self._lanes: Lanes | None = None

    @property
    def quick(self) -> bool:
        """Whether batch-1 requests run on the event loop."""
        return self._most_inline > 0

    @property
    def waiting(self) -> int:
        """Requests in its queue, those that run included."""
        return self._lanes.waiting if self._lanes is not None else 0

    def loaded(self, prepared: Prepared, bounds: Bounds = BOUNDS) -> None:
        """It can answer."""
        from agent.serving.samples import most_samples  # it needs numpy

        self.most_samples = most_samples(prepared.model, prepared.curve, bounds)
        budget_ms = self._budgets.p95_ms
        pace = Pace(prepared.curve, budget_s=budget_ms / 1000 if budget_ms else None, batches=prepared.joins)
        self._prepared = prepared
        self._lanes = Lanes(self.name, prepared, pace, bounds, self.metrics)
        self.model, self.run_s, self.state = prepared.model, prepared.run_s, READY
        self._bear()

    def bear(self, strain: Strain) -> None:
        """The board's state is this now."""
        if strain != self._strain:
            self._strain = strain
            self._bear()

    def _bear(self) -> None:
        prepared, lanes, strain = self._prepared, self._lanes, self._strain
        if prepared is not None and lanes is not None:
            inline = prepared.quick and ease(strain).inline
            fitting = min(prepared.curve.fitting(LONGEST_INLINE_S), self.most_samples)
            self._most_inline = max(1, fitting) if inline else 0
            lanes.bear(strain)

    def anew(self, state: str) -> Served:
        """The same to be loaded once more: one that was ended does not come back."""
        fresh = Served(self.entry, self.metrics)
        fresh.state = state
        return fresh

    def take_part(self, entry: GenerationModel) -> None:
        """Go on in the role that another generation gives it."""
        self.entry, self.role, self.share = entry, entry.role.value, entry.share

    def end(self) -> Prepared | None:
        """Answer no more. What is to be closed, if anything."""
        prepared, lanes = self._prepared, self._lanes
        self.model = self.form = self._prepared = self._lanes = None
        self._most_inline, self.state = 0, UNLOADED
        if lanes is not None:
            lanes.end()
        return prepared

    def failed(self, error: EdgeError) -> None:
        """It can't be served."""
        self.error, self.state = error, FAILED

    def run(
        self, arrays: Sequence[Array], *, deadline: float | None = None, priority: int = 0
    ) -> list[Array] | Awaitable[list[Array]]:
        """Answer one request: at once, or as something to wait for.

        Args:
            arrays: checked, in the order of the model's inputs.
            deadline: monotonic seconds after which it must not be run any more.
            priority: 1 is the highest, 0 the model's default.

        Raises:
            RequestInvalid: it asks for too many samples.
            Overloaded: the queue is full.
            BoardStrained: it would have to wait, and the board is too hot or too full for that.
            RequestExpired: its deadline has passed.
            InferenceFailed: the engine said no.
        """
        model, lanes = self.model, self._lanes
        if model is None or lanes is None:
            raise ModelUnavailable(model=self.name)
        if deadline is not None and time.monotonic() > deadline:
            raise RequestExpired(model=self.name)
        seen = self.seen
        if self.cache is not None:
            key = self.cache.key(self.bundle, arrays)
            kept = self.cache.find(key)
            if kept is not None:
                self.metrics.hits += 1
                return kept
            self.metrics.misses += 1
            seen = partial(_keep, self.cache, key, seen)
        samples = len(arrays[0])
        if samples <= self._most_inline and not lanes.busy:
            # So short that it is CPU time; asking the kernel for that would cost more than it tells.
            began = time.monotonic()
            outputs = model.answer(arrays)
            self.metrics.ran(samples, began, time.monotonic() - began)
            if seen is not None:
                seen(arrays, outputs)
            return outputs
        self.check_samples(samples)
        answer = lanes.answer(arrays, deadline=deadline, priority=priority)
        return answer if seen is None else _told(answer, arrays, seen)

    def check_samples(self, count: int) -> None:
        """Refuse a request that asks for more than one may.

        Raises:
            RequestInvalid: so.
        """
        if count > self.most_samples:
            raise RequestInvalid(
                reason=f"the request holds {count} samples for model '{self.name}': at most {self.most_samples} are "
                "taken at once",
                status=413,
            )

    def sample(self) -> ModelSample:
        """Its numbers for Prometheus."""
        batch = self._lanes.samples if self._lanes is not None else 1
        return ModelSample(self.name, self.version, self.metrics, self.waiting, batch)

    def status(self) -> dict[str, Any]:
        """How its requests are run, for `/edge/v1/status`."""
        prepared, lanes = self._prepared, self._lanes
        if prepared is None or lanes is None:
            return {}
        curve = prepared.curve
        return {
            "run_ms": prepared.run_s * 1000,
            "inline": self.quick,
            "lanes": len(prepared.instances),
            "batch": lanes.samples,
            "most_samples": self.most_samples,
            "curve": {
                "fixed_ms": curve.fixed_s * 1000,
                "sample_ms": curve.sample_s * 1000,
                "largest": curve.largest,
                "gain": round(curve.gain, 3),
            },
            "drain_s": lanes.drain_s,
        }


async def _told(answer: Awaitable[list[Array]], arrays: Sequence[Array], seen: Seen) -> list[Array]:
    outputs = await answer
    seen(arrays, outputs)
    return outputs


def _keep(
    cache: ResultCache, key: Key, seen: Seen | None, arrays: Sequence[Array], outputs: list[Array]
) -> None:
    """Keep an answer, and tell who else wants to know."""
    cache.keep(key, outputs)
    if seen is not None:
        seen(arrays, outputs)
