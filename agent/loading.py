"""Which generation is served: its first loading, and its exchange for another one.

The rule: where the runtime and the configuration are the same and memory admits both, the next generation's models are
loaded beside those that serve, warmed up, and exchanged at once: no request waits. What did not change is not loaded
again. Else the process starts anew, where requests wait until the models are loaded; the log says why.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import BoardFolder, generation_to_serve, read_config, read_generation
from agent.contract.board import BoardConfig
from agent.contract.errors import EdgeError
from agent.metrics import ModelMetrics
from agent.serving.catalog import Catalog
from agent.serving.loader import Loader, in_thread
from agent.serving.served import READY, Served
from agent.standing import Standing

if TYPE_CHECKING:
    from agent.contract.release import Generation, GenerationModel

LOG = logging.getLogger("agent")


class Loading:
    """Loads generations into a catalog.

    Args:
        folder, config: the board's. generation: its number; None follows the links `trial` and `current`.
        catalog: to load into. loader: of its models. standing: is told.
    """

    def __init__(
        self,
        folder: BoardFolder,
        config: BoardConfig,
        generation: int | None,
        *,
        catalog: Catalog,
        loader: Loader,
        standing: Standing,
    ) -> None:
        self._folder = folder
        self._config = config
        self._chosen = generation
        self._catalog = catalog
        self._loader = loader
        self._standing = standing
        self._runtime: str | None = None
        self._metrics: dict[tuple[str, str], ModelMetrics] = {}

    def find(self) -> Path | None:
        """The folder of the generation to serve, whose number is said from now on; None where there is none."""
        found = generation_to_serve(self._folder, self._chosen)
        self._catalog.generation = self._standing.generation = 0 if found is None else _number(found)
        return found

    async def begin(self, found: Path | None) -> None:
        """Load the first generation, model by model, while requests wait."""
        catalog = self._catalog
        try:
            if found is not None:
                generation = await in_thread(lambda: read_generation(found))
                self._runtime = generation.runtime
                models = [self._served(entry) for entry in generation.models]
                catalog.title = generation.title
                catalog.exchange(models)
                await in_thread(_import_protocols)
                for served in models:
                    await self._load(served)
        except EdgeError as error:
            catalog.error = error
        catalog.finish()
        reason = catalog.first_error
        self._standing.say(ready=reason is None, error=reason)
        if reason is None:
            LOG.info("ready: %s", catalog.title)
        else:
            LOG.error("not ready: %s", reason)

    async def follow(self) -> str:
        """Serve what the links name now.

        Returns:
            Why this process can't, and must be started anew; empty when it does, or when that was said to be in vain.
        """
        found = generation_to_serve(self._folder)
        try:
            config = read_config(self._folder)
            wanted = None if found is None else await in_thread(lambda: read_generation(found))
        except EdgeError as error:
            if self._catalog.loading or found is None:
                return str(error)
            # A process that starts anew would find the same, and serve nothing.
            self._stay(_number(found), error)
            return ""
        if self._catalog.loading or wanted is None or self._runtime is None:
            return "the models are still being loaded" if self._catalog.loading else "there is no generation"
        if wanted.runtime != self._runtime:
            return "the runtime is another one"
        if config != self._config:
            return "the board's configuration is another one"
        if wanted.number == self._catalog.generation and not self._catalog.ready:
            return f"{wanted.title} was not ready"
        async with self._catalog.changing:
            return await self._exchange(wanted)

    async def _exchange(self, wanted: Generation) -> str:
        """Load what is new beside what serves, and exchange them. Why that takes a gap, or empty.

        What does not fit even in the place of what serves is an error, and what serves goes on.
        """
        catalog, standing = self._catalog, self._standing
        kept = {
            (served.name, served.release, served.bundle): served
            for served in catalog.index()
            if served.state == READY
        }
        models = [
            kept.get((entry.name, entry.release, entry.bundle)) or self._served(entry)
            for entry in wanted.models
        ]
        new = [served for served in models if served.state != READY]
        need_bytes = await in_thread(lambda: self._loader.need_bytes(new))
        room = self._loader.room()
        held_bytes = self._loader.held_bytes([served for served in catalog.index() if served not in models])
        if room.free_bytes < need_bytes <= room.free_bytes + held_bytes:
            return (
                f"{wanted.title} needs {need_bytes / 1e6:.0f} MB beside {catalog.title}, and "
                f"{room.free_bytes / 1e6:.0f} MB are free"
            )
        standing.generation = wanted.number
        standing.say()
        try:
            if need_bytes > room.free_bytes:
                raise self._loader.too_large(wanted.title, need_bytes, room)
            refused = await in_thread(lambda: self._loader.refused_at_start(models))
            if refused is not None:
                raise refused
            await in_thread(lambda: self._loader.verify([served for served in models if served not in new]))
            for served in new:
                await self._loader.load(served)
        except EdgeError as error:
            for served in new:
                await self._loader.close(served)
            self._stay(wanted.number, error)
            return ""
        before = catalog.index()
        for served, entry in zip(models, wanted.models):  # noqa: B905 - one each
            served.take_part(entry)
        catalog.generation, catalog.title, catalog.error = wanted.number, wanted.title, None
        catalog.exchange(models)
        standing.swap = {"gap": False, "reason": None}
        standing.say(ready=True)
        LOG.info("exchanged without a gap: %s, %d of %d loaded", catalog.title, len(new), len(models))
        for served in before:
            if served not in models:
                await self._loader.close(served)
        return ""

    def _stay(self, number: int, error: EdgeError) -> None:
        """What serves goes on, in place of the generation of this number; say why."""
        LOG.error("%s is served as before: %s", self._catalog.title, error)
        self._standing.generation = number
        self._standing.say(error=error)

    async def _load(self, served: Served) -> None:
        """Load one of the first generation; where it can't be, the others are served."""
        with contextlib.suppress(EdgeError):  # it says so itself, and so does the log
            await self._loader.load(served)

    def _served(self, entry: GenerationModel) -> Served:
        return Served(entry, self._metrics_of(entry.name, entry.release))

    def _metrics_of(self, name: str, release: str) -> ModelMetrics:
        """Counters only grow, from the start of the process: a release that comes back goes on with its own."""
        return self._metrics.setdefault((name, release), ModelMetrics())


def _number(found: Path) -> int:
    return int(found.name) if found.name.isdigit() else 0


def _import_protocols() -> None:
    """What the first request would wait for."""
    from agent.serving.v1 import predict  # noqa: F401
    from agent.serving.v2 import inference  # noqa: F401
