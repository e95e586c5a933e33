"""The link: one thread beside the one that serves.

The rule: serving never waits for it and never fails with it. It is begun when the models are loaded; until there is a
`link/link.json` it looks for that file and does nothing else: a board that nobody collects from must not wear its
flash.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from agent.link.subject import Subject
from agent.signals import leave_signals

if TYPE_CHECKING:
    from agent.link.telemetry import Telemetry

LOOK_S = 0.5
"""From look to look whether there is a configuration."""
FAILED_S = 60.0
"""After a mistake of our own all begins anew, no sooner."""
END_S = 0.3
LONGEST_RESULT_BYTES = 256 * 1024
LOG = logging.getLogger("agent.link")


class Link:
    """The agent's way to the fleet."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._connections = itertools.count(1)
        self._ended = threading.Event()
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._telemetry: Telemetry | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Begin to end; `wait` waits for it."""
        self._ended.set()
        self._wake()

    def wait(self) -> None:
        """Wait for the end, `END_S` at the longest: what is committed is safe whether it came to it or not."""
        if self._thread.is_alive():
            self._thread.join(END_S)

    def status(self) -> Mapping[str, Any] | None:
        """Whether the broker is there, this boot's highest numbers, and what is held; None without a configuration."""
        return self._telemetry.status() if self._telemetry is not None else None

    def tell(self, model: str, result: bytes) -> bool:
        """Publish a model's result, JSON, that nobody asked for. Whether somebody collects, and it is short enough."""
        if len(result) > LONGEST_RESULT_BYTES or not self._subject.folder.link.exists():
            return False
        self._subject.results.append((model, result))
        self._wake()
        return True

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is awake
            os.write(self._waker, b"w")

    def _run(self) -> None:
        leave_signals()
        while not self._subject.folder.link.exists():
            if self._ended.wait(LOOK_S):
                return
        try:
            # Not before there is somebody to report to: these are megabytes.
            from agent.link.telemetry import Telemetry
        except ImportError as error:
            LOG.error("this runtime can't report to a collector: %s", error)
            return
        while not self._ended.is_set():
            try:
                with closing(Telemetry(self._subject, self._connections, self._wake)) as telemetry:
                    self._telemetry = telemetry
                    while not self._ended.is_set():
                        telemetry.turn(self._woken)
            except Exception:
                LOG.exception("telemetry failed; it begins anew in %.0f s", FAILED_S)
                self._ended.wait(FAILED_S)
