"""A shadow: it is asked what its primary was asked, and nobody gets its answers; how far the two agree is counted.

The rule: never on an answer's way. A copy is run when the primary's answer has gone, one at a time; what comes
meanwhile is not copied, and counted as dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.contract.errors import EdgeError
from agent.serving.loader import in_thread
from agent.serving.served import READY, Served

if TYPE_CHECKING:
    from agent.serving.tensors import Array


class Shadow:
    """Copies what one model is asked to another version of it.

    Args:
        primary: whose requests. served: the shadow.
    """

    def __init__(self, primary: Served, served: Served) -> None:
        self._primary = primary
        self._served = served
        self._copy: asyncio.Task[None] | None = None

    def see(self, arrays: Sequence[Array], outputs: list[Array]) -> None:
        """The primary was asked this and answers that. Returns at once."""
        if self._copy is not None or self._served.state != READY:
            self._served.metrics.dropped += 1
            return
        self._copy = asyncio.get_running_loop().create_task(self._run(arrays, outputs))

    async def _run(self, arrays: Sequence[Array], outputs: list[Array]) -> None:
        served = self._served
        served.under_way += 1
        try:
            outcome = served.run(arrays)
            if isinstance(outcome, Awaitable):
                found = await outcome
                agreed = await in_thread(lambda: self._agreement(found, outputs))
            else:
                agreed = self._agreement(outcome, outputs)
            served.metrics.compared += 1
            served.metrics.agreed += agreed
        except EdgeError as error:
            served.metrics.failed(error.code)
        finally:
            served.under_way -= 1
            self._copy = None

    def _agreement(self, found: Sequence[Array], outputs: Sequence[Array]) -> float:
        """0 to 1, as the conversion compares an artifact with its float model; 0 where the tensors are others."""
        from agent.transforms.agreement import agreement

        model, primary = self._served.model, self._primary.model
        if model is None or primary is None or model.output_names != primary.output_names:
            return 0.0
        specs = [
            replace(spec, dtype=dtype, scale=None, zero_point=None)  # real numbers, as clients see them
            for spec, dtype in zip(model.outputs, model.output_dtypes)  # noqa: B905 - one each
        ]
        return agreement(found, outputs, specs, model.bundle.manifest.task)
