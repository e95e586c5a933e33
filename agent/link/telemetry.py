"""What the link's thread does, turn by turn: look, sample, send, wait.

The rule: each turn does what is due and waits for what comes next; nothing in it waits for the network. What fails is
said when it begins to fail and when it works again.
"""

from __future__ import annotations

import logging
import math
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.contract.errors import OutboxFailed
from agent.link.configuration import Configuration
from agent.link.outbox import RETRY_S, Outbox
from agent.link.reports import Report, Reports
from agent.link.sampler import sample
from agent.link.session import Session
from agent.link.subject import Subject

LOOK_S = 0.5
"""From look to look at the files that others write."""
OS_BOOT = Path("/proc/sys/kernel/random/boot_id")
NEVER = float("inf")
LOG = logging.getLogger("agent.link")


class Telemetry:
    """Sampler, outbox and session together.

    Args:
        subject: whom it speaks for. connections: their numbers, which only grow within a boot.
        wake: makes the descriptor readable that `turn` waits for.
    """

    def __init__(self, subject: Subject, connections: Iterator[int], wake: Callable[[], None]) -> None:
        self._subject = subject
        folder, device = subject.folder, subject.config.device
        os_boot = OS_BOOT.read_text().strip()
        self._outbox = Outbox(folder.outbox, boot=subject.boot, os_boot=os_boot)
        self._session = Session(subject, outbox=self._outbox, connections=connections, wake=wake)
        self._configuration = Configuration(folder.link)
        self._reports = Reports(folder.reported, device=device)
        self._untold: Report | None = None
        self._next_look = 0.0
        self._next_sample = NEVER
        self._fails = False

    def turn(self, woken: int) -> None:
        """Do what is due, and wait for what comes next, or for `woken` to be readable."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look(now)
        try:
            if now >= self._next_sample:
                self._sample(now)
            due = min(self._next_look, self._next_sample, self._session.deadline(now))
            readable, writable = self._wait(woken, due - time.monotonic())
            self._session.step(time.monotonic(), readable=readable, writable=writable)
        except OutboxFailed as error:
            self._failed(error)

    def status(self) -> Mapping[str, Any]:
        """For the agent's own words of itself; may be called by another thread."""
        connection = self._session.connection
        return {
            "connected": connection is not None and connection.listening,
            "given": self._outbox.given,
            "acknowledged": self._outbox.acknowledged,
            "outbox_bytes": self._outbox.used_bytes,
        }

    def close(self) -> None:
        """Say goodbye, as far as that is quickly done."""
        self._session.end()
        self._outbox.close()

    def _look(self, now: float) -> None:
        if self._configuration.changed():
            config = self._configuration.now
            self._session.configure(config)
            if config is None:
                self._next_sample = NEVER
            else:
                self._outbox.bound_bytes = config.outbox_bytes
                first = self._next_sample == NEVER
                self._next_sample = now if first else min(self._next_sample, now + config.interval_s)
        if self._configuration.now is None:
            return
        self._session.tell_birth()
        report = self._reports.newer()
        if report is not None:
            self._session.report(report.signed)
            self._untold = report
        if self._untold is not None:
            self._tell(self._untold)

    def _tell(self, report: Report) -> None:
        try:
            if self._outbox.said != report.state:
                self._outbox.add_event(report.event, report=report.state)
            self._untold = None
        except OutboxFailed as error:
            self._failed(error)

    def _sample(self, now: float) -> None:
        config = self._configuration.now
        interval_s = config.interval_s if config is not None else NEVER
        # A board that was suspended does not make up for what it missed.
        self._next_sample = max(self._next_sample + interval_s, now)
        self._outbox.add_sample(sample(self._subject.board, self._subject.counters()))
        if self._fails:
            self._fails = False
            LOG.info("the outbox works again")

    def _failed(self, error: OutboxFailed) -> None:
        if not self._fails:
            LOG.error("%s; %s", error, error.hint)
        self._fails = True
        self._session.send_again(time.monotonic() + RETRY_S)

    def _wait(self, woken: int, timeout_s: float) -> tuple[bool, bool]:
        """Whether the broker's connection can be read, and written."""
        connection = self._session.connection
        descriptor = connection.descriptor if connection is not None else None
        poll = select.poll()  # any descriptor: the agent may have thousands of clients
        poll.register(woken, select.POLLIN)
        if connection is not None and descriptor is not None:
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if connection.wants_write else 0))
        found = dict(poll.poll(math.ceil(max(timeout_s, 0.0) * 1000)))
        if woken in found:
            os.read(woken, 64)
        events = found.get(descriptor, 0) if descriptor is not None else 0
        return bool(events & ~select.POLLOUT), bool(events & select.POLLOUT)
