"""What is served: models by name, version and label.

The rule: all versions of all names are exchanged at once, by the event loop's thread, so that a request meets the old
set or the new one, never a mixture; the primary of a name answers where no version is named. While the first loading
goes on, requests wait for its end, and not too many of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.errors import (
    EdgeError,
    ModelLabelNotServed,
    ModelNotServed,
    ModelVersionNotServed,
    Overloaded,
)
from agent.serving.cache import ResultCache
from agent.serving.served import LOADING, READY, UNLOADED, Served
from agent.serving.shadow import Shadow
from agent.serving.sharing import Sharing

if TYPE_CHECKING:
    pass

WAITING_BOUND = 64
"""Requests that may wait for the first loading, and those to load or unload that may be under way."""
LABELS: Mapping[str, str] = {"primary": "stable", "challenger": "canary", "shadow": "shadow"}
"""By role: what TensorFlow Serving's clients call a version by."""


class Loader(Protocol):
    """Who loads a model and gives its memory back."""

    async def load(self, served: Served) -> None:
        """Make it answer. Raises: EdgeError."""
        ...

    async def close(self, served: Served) -> None:
        """Give back the memory of one that no request can find any more, when those that did are answered."""
        ...


class Catalog:
    """What is served. While the first loading goes on, requests wait for its end.

    Args:
        loader: for `load` and `unload`; None where what is served stays as it is.
        cache: for answers; None keeps none.

    Attributes:
        generation: number, 0 without one. title: what it is, like `digits@2`.
        loading: the generation's models are still being loaded.
        models: the primary of each name, which answers where no version is named.
        shared: names whose requests a challenger answers a part of.
        error: why the generation as a whole is not served, or None.
        changing: is held by whoever changes what is served.
    """

    def __init__(self, loader: Loader | None = None, cache: ResultCache | None = None) -> None:
        self.generation = 0
        self.title = "nothing"
        self.models: Mapping[str, Served] = {}
        self.shared: Mapping[str, Sharing] = {}
        self.error: EdgeError | None = None
        self.loading = True
        self.changing = asyncio.Lock()
        self._loader = loader
        self._cache = cache
        self._all: tuple[Served, ...] = ()
        self._found: dict[tuple[str, str | None, str | None], Served] = {}
        self._loaded: Future[None] = Future()
        self._waiting = 0
        self._changes: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether every model is loaded and has answered once."""
        return not self.loading and self.first_error is None

    @property
    def first_error(self) -> EdgeError | None:
        """Why it is not ready, or None."""
        errors = [self.error, *(served.error for served in self._all)]
        return next((error for error in errors if error is not None), None)

    def exchange(self, models: Iterable[Served]) -> None:
        """Serve these from now on, and nothing else."""
        found: dict[tuple[str, str | None, str | None], Served] = {}
        before, self._all = self._all, tuple(models)
        for served in self._all:
            found[served.name, str(served.version), None] = served
            if served.role in LABELS:
                found[served.name, None, LABELS[served.role]] = served
        self.models = {served.name: served for served in self._all if served.role == "primary"}
        for name, served in self.models.items():
            found[name, None, None] = served
        self._found = found
        self.shared = {
            name: Sharing(primary, challengers)
            for name, primary in self.models.items()
            if (challengers := [each for each in self._of(name) if each.role == "challenger"])
        }
        self._let_see(before)

    def _let_see(self, before: tuple[Served, ...]) -> None:
        """Tell shadows of what is asked of these models, and keep their answers; no more of that which those gave."""
        cache = self._cache
        for served in before:
            served.seen = served.cache = None
        for served in self._all:
            shadow = next((each for each in self._of(served.name) if each.role == "shadow"), None)
            served.seen = None
            if served.role == "primary" and shadow is not None:
                served.seen = Shadow(served, shadow).see
            served.cache = cache
        if cache is not None:
            cache.retain({served.bundle for served in self._all if served.state != UNLOADED})

    def index(self) -> tuple[Served, ...]:
        """All versions of all names, with their states and errors, in the generation's order."""
        return self._all

    def versions(self, name: str) -> tuple[Served, ...]:
        """All versions of one name.

        Raises:
            ModelNotServed: there is none.
        """
        found = self._of(name)
        if not found:
            raise ModelNotServed(model=name)
        return found

    def _of(self, name: str) -> tuple[Served, ...]:
        return tuple(served for served in self._all if served.name == name)

    def find(self, name: str, version: str | None = None, label: str | None = None) -> Served:
        """The model that answers to a name, and to a version or a label where one is given.

        Raises:
            ModelNotServed, ModelVersionNotServed, ModelLabelNotServed: there is none.
        """
        served = self._found.get((name, version, label))
        if served is not None:
            return served
        if (name, None, None) not in self._found:
            raise ModelNotServed(model=name)
        if label is not None:
            raise ModelLabelNotServed(model=name, label=label)
        raise ModelVersionNotServed(model=name, version=version)

    async def load(self, name: str, version: str | None = None) -> None:
        """Load one version of a name, or all that are not loaded; return when they answer.

        Raises:
            ModelNotServed, ModelVersionNotServed: there is none.
            Overloaded: too many are under way.
            EdgeError: one can't be loaded.
        """
        await self._to_its_end(self._load(name, version))

    async def unload(self, name: str, version: str | None = None) -> None:
        """Unload one version of a name, or all; return when their memory is given back.

        Raises:
            ModelNotServed, ModelVersionNotServed: there is none.
            Overloaded: too many are under way.
        """
        await self._to_its_end(self._unload(name, version))

    async def _to_its_end(self, change: Coroutine[Any, Any, None]) -> None:
        """Who asked for it may go away meanwhile: what was begun is not left half done."""
        if len(self._changes) >= WAITING_BOUND:
            change.close()
            raise Overloaded(model="the board's repository")
        task = asyncio.get_running_loop().create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)

    async def _load(self, name: str, version: str | None) -> None:
        loader = self._loader
        await self.wait()
        async with self.changing:
            for served in self._meant(name, version):
                if loader is not None and served.state != READY:
                    fresh = served.anew(LOADING)
                    self._replace(served, fresh)
                    await loader.load(fresh)

    async def _unload(self, name: str, version: str | None) -> None:
        loader = self._loader
        await self.wait()
        async with self.changing:
            for served in self._meant(name, version):
                if loader is not None and served.state != UNLOADED:
                    self._replace(served, served.anew(UNLOADED))
                    await loader.close(served)

    def _replace(self, served: Served, fresh: Served) -> None:
        self.exchange(fresh if each is served else each for each in self._all)

    def _meant(self, name: str, version: str | None) -> tuple[Served, ...]:
        return self.versions(name) if version is None else (self.find(name, version),)

    def finish(self) -> None:
        """All models are loaded, or failed to be."""
        self.loading = False
        if not self._loaded.done():
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
