"""What is served, by name.

The rule: while the first loading goes on, requests wait for its end, and not too many of them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from agent.contract.errors import EdgeError, ModelNotServed, ModelVersionNotServed, Overloaded
from agent.serving.served import Served

WAITING_BOUND = 64
"""Requests that may wait for the first loading."""


class Catalog:
    """What is served, by name. While the first loading goes on, requests wait for its end.

    Attributes:
        generation: number, 0 without one. title: what it is, like `digits@2`.
        loading: the generation's models are still being loaded.
        models: by name.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.title = "nothing"
        self.models: dict[str, Served] = {}
        self.error: EdgeError | None = None
        self.loading = True
        self._loaded: Future[None] = Future()
        self._waiting = 0

    @property
    def ready(self) -> bool:
        """Whether every model is loaded and has answered once."""
        return not self.loading and self.first_error is None

    @property
    def first_error(self) -> EdgeError | None:
        """Why it is not ready, or None."""
        errors = [self.error, *(served.error for served in self.models.values())]
        return next((error for error in errors if error is not None), None)

    def finish(self) -> None:
        """All models are loaded, or failed to be."""
        self.loading = False
        self._loaded.set_result(None)

    async def wait(self) -> None:
        """Wait for the end of the first loading.

        Raises:
            Overloaded: too many do.
        """
        if self._waiting >= WAITING_BOUND:
            raise Overloaded(model="the agent, which is starting,")
        self._waiting += 1
        try:
            await asyncio.shield(asyncio.wrap_future(self._loaded))
        finally:
            self._waiting -= 1

    def find(self, name: str, version: str | None = None) -> Served:
        """The model that answers to a name.

        Raises:
            ModelNotServed, ModelVersionNotServed: there is none.
        """
        served = self.models.get(name)
        if served is None:
            raise ModelNotServed(model=name)
        if version is not None and version != str(served.version):
            raise ModelVersionNotServed(model=name, version=version)
        return served
