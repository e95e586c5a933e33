"""From a bundle in the board's folder to a model that answers, and back to free memory.

The rule: a model is verified, admitted, opened and measured in a thread, one after the other; what does not fit into
the memory that there is gets an error with the numbers before anything of it is loaded, so that the kernel never has
to end the agent. A model is closed when the last request that found it is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from agent.config import BoardFolder
from agent.contract.board import BoardConfig
from agent.contract.errors import ContractError, EdgeError, EngineRefusesModel, ModelTooLargeForMemory
from agent.memory import Room, available_bytes, give_back
from agent.serving.queue import Bounds
from agent.serving.served import UNLOADING, Served
from agent.signals import leave_signals
from agent.system import rss_bytes

if TYPE_CHECKING:
    from agent.contract.manifest import BundleManifest
    from agent.serving.preparing import Prepared

T = TypeVar("T")

FILE_FACTOR = 2
"""Memory that a model needs while it is loaded, relative to its file, where nobody measured it."""
DRAIN_S = 30.0
"""For requests that found a model before it was exchanged."""
LOOK_S = 0.01
LOG = logging.getLogger("agent")


class Loader:
    """Loads the models of one board's folder.

    Args:
        folder, config: the board's.
    """

    def __init__(self, folder: BoardFolder, config: BoardConfig) -> None:
        self._folder = folder
        self._threads = config.threads
        self._bounds = Bounds(config.queue_requests, config.queue_mib * 1024 * 1024)
        self._limit_bytes = config.memory_limit_mib * 1024 * 1024
        self._grown: dict[str, int] = {}
        self._bare_bytes: int | None = None
        self._turn = asyncio.Lock()

    async def load(self, served: Served) -> None:
        """Make it answer.

        Raises:
            EdgeError: it can't be served; it says so itself, too.
        """
        async with self._turn:
            try:
                served.loaded(await in_thread(lambda: self._open(served)), self._bounds)
            except EdgeError as error:
                LOG.error("%s can't be served: %s", served.release, error)
                served.failed(error)
                raise

    async def close(self, served: Served) -> None:
        """Give back the memory of one that no request can find any more, when those that did are answered."""
        served.state = UNLOADING
        end = monotonic() + DRAIN_S
        while served.under_way and monotonic() < end:
            await asyncio.sleep(LOOK_S)
        async with self._turn:
            prepared = served.end()
            if prepared is not None:
                await in_thread(prepared.close)
                del prepared
                await in_thread(give_back)

    def room(self) -> Room:
        """The memory that there is."""
        return Room(rss_bytes(), self._limit_bytes, available_bytes())

    def need_bytes(self, models: Sequence[Served]) -> int:
        """What these need together. Not on the event loop. What can't be read needs nothing: its loading says why."""
        total = 0
        for served in models:
            with contextlib.suppress(OSError, ContractError):
                total += self._need_bytes(served.bundle, _manifest(self._folder, served.bundle))
        return total

    def held_bytes(self, models: Sequence[Served]) -> int:
        """What came with these when they were loaded, and goes with them."""
        return sum(self._grown.get(served.bundle, 0) for served in models)

    def refused_at_start(self, models: Sequence[Served]) -> ModelTooLargeForMemory | None:
        """What a process that starts anew would say of these, in this order, or None. Not on the event loop.

        It knows what the manifests say, and nothing that was measured here: what is served now must be served after the
        next power cut, too.
        """
        room = Room(self._bare_bytes or rss_bytes(), self._limit_bytes, None)
        for served in models:
            with contextlib.suppress(OSError, ContractError):
                need_bytes = _told_bytes(_manifest(self._folder, served.bundle))
                if need_bytes > room.free_bytes:
                    return self.too_large(served.release, need_bytes, room)
                grown_bytes = self._grown.get(served.bundle, need_bytes)
                room = Room(room.used_bytes + grown_bytes, self._limit_bytes, None)
        return None

    def verify(self, models: Sequence[Served]) -> None:
        """Read what these were loaded from once more. Not on the event loop.

        Raises:
            EdgeError: a file is not what it was: after the next power cut the model could not be served.
        """
        from agent.models import open_bundle

        for served in models:
            open_bundle(self._folder.object(served.bundle), expected=served.bundle)

    def too_large(self, what: str, need_bytes: int, room: Room) -> ModelTooLargeForMemory:
        """The error for what does not fit."""
        return ModelTooLargeForMemory(
            model=what,
            need_mb=need_bytes / 1e6,
            free_mb=room.free_bytes / 1e6,
            used_mb=room.used_bytes / 1e6,
            limit_mb=room.limit_bytes / 1e6,
        )

    def _need_bytes(self, bundle: str, manifest: BundleManifest) -> int:
        return self._grown.get(bundle) or _told_bytes(manifest)

    def _open(self, served: Served) -> Prepared:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads' buffers are memory that nobody uses
        from agent import engines
        from agent.models import Model, open_bundle
        from agent.serving.preparing import prepare

        bundle = open_bundle(self._folder.object(served.bundle), expected=served.bundle)
        manifest = bundle.manifest
        engines.load_library(engines.choose(manifest.format, manifest.requires.engines))
        need_bytes, room = self._need_bytes(served.bundle, manifest), self.room()
        self._bare_bytes = self._bare_bytes or room.used_bytes
        if need_bytes > room.free_bytes:
            raise self.too_large(served.release, need_bytes, room)
        before = rss_bytes()
        model = Model(bundle, threads=self._threads)
        try:
            prepared = prepare(model, threads=self._threads, memory_limit_bytes=self._limit_bytes)
        except BaseException:
            model.close()
            raise
        self._grown[served.bundle] = max(0, rss_bytes() - before)
        return prepared


def _told_bytes(manifest: BundleManifest) -> int:
    """What a model needs by its manifest, or by the length of its file."""
    size_bytes = next((file.size_bytes for file in manifest.files if file.path == manifest.model_file), 0)
    return manifest.requires.memory_bytes or FILE_FACTOR * size_bytes


def _manifest(folder: BoardFolder, bundle: str) -> BundleManifest:
    from agent.contract.codec import decode
    from agent.contract.manifest import BundleManifest

    return decode(BundleManifest, (folder.object(bundle) / "manifest.json").read_bytes())


async def in_thread(work: Callable[[], T]) -> T:
    """Do something that takes long, in a thread that does not hold up the agent's end.

    Raises:
        EdgeError: as `work` does; anything else that goes wrong becomes one.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: EdgeError | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # without an error it is one

    def run() -> None:
        leave_signals()
        result, error = None, None
        try:
            result = work()
        except EdgeError as failure:
            error = failure
        except Exception as failure:
            LOG.exception("loading failed")
            error = EngineRefusesModel(
                engine="the agent",
                version="",
                file="the model",
                reason=str(failure) or type(failure).__name__,
            )
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await done
