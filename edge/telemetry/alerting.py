"""Alerts at work: rules looked at every second, people told by webhook, command and MQTT.

The rule: who is told never holds up what is stored: telling happens in a thread of its own, with deadlines, and what
fails is logged and not tried again. A rule that is not valid is said once, and the rules before it go on.
"""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from agent.contract.errors import AlertRuleInvalid
from edge.telemetry import query
from edge.telemetry.alerts import Change, Rule, evaluate, read_rules
from edge.telemetry.store import Store

EVERY_S = 1.0
REST = 20
"""After a look that took so long, it rests for so many times as long: a large fleet is looked at less often."""
TELL_S = 10.0
MOST_WAITING = 1000

log = logging.getLogger(__name__)


class Alerts:
    """The alerts of a fleet folder, for the thread that writes the store.

    Args:
        path: of `alerts.toml`; read again when it changes.
        publish: a topic and what is said there, to the broker; any thread may call it.
    """

    def __init__(self, path: Path, publish: Callable[[str, bytes], None]) -> None:
        self._path = path
        self._publish = publish
        self._stamp: tuple[int, int] | None = None
        self._rules: tuple[Rule, ...] = ()
        self._due = 0.0
        self._telling: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self._teller: threading.Thread | None = None

    def tick(self, store: Store, names: Mapping[str, str]) -> tuple[Change, ...]:
        """Look at the boards, if it is time to. `names`: of the fleet's boards, by id. Returns what began and ended.

        Raises:
            StoreUnusable: the store can't be read or written.
        """
        began = time.monotonic()
        if began < self._due:
            return ()
        self._follow_file()
        if not self._rules:
            self._due = began + EVERY_S
            return ()
        now = time.time()
        boards = query.fleet_now(store, now=now, devices=tuple(names))
        before = store.read_alerts()
        after, changes = evaluate(self._rules, boards, before, now=now)
        if after != before:
            store.write_alerts(after)
        for change in changes:
            self._tell(change, names[change.device])
        took = time.monotonic() - began
        self._due = began + max(EVERY_S, REST * took)
        return changes

    def _follow_file(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = None
        if stamp == self._stamp and (stamp is not None or not self._rules):
            return
        self._stamp = stamp
        try:
            self._rules = read_rules(self._path)
        except AlertRuleInvalid as error:
            log.warning("%s [%s]", error, error.code)

    def _tell(self, change: Change, name: str) -> None:
        rule = change.rule
        what = "begins" if change.begins else "ends"
        log.info("alert %s of %s %s: %s, found %g", rule.name, name, what, rule.when, change.value)
        document = {
            "alert": rule.name, "device": name, "device_id": change.device, "state": what, "when": rule.when,
            "value": change.value, "at": change.at,
        }  # fmt: skip
        if self._teller is None:
            self._teller = threading.Thread(target=self._run, name="edge-alerts", daemon=True)
            self._teller.start()
        try:
            self._telling.put_nowait({"rule": rule, "document": document})
        except queue.Full:
            log.warning("alert %s of %s is not told: too many wait", rule.name, name)

    def _run(self) -> None:
        while True:
            item = self._telling.get()
            tell(item["rule"], item["document"], self._publish)


def tell(rule: Rule, document: Mapping[str, Any], publish: Callable[[str, bytes], None]) -> None:
    """Tell everyone that a rule names; what fails is logged."""
    body = json.dumps(document, ensure_ascii=False).encode()
    if rule.webhook:
        request = urllib.request.Request(rule.webhook, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TELL_S):
                pass
        except (OSError, ValueError, HTTPException) as error:
            log.warning("alert %s: the webhook failed: %s", rule.name, error)
    if rule.command:
        try:
            subprocess.run(rule.command, input=body, timeout=TELL_S, check=True, stdout=subprocess.DEVNULL)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warning("alert %s: the command failed: %s", rule.name, error)
    if rule.mqtt:
        publish(rule.mqtt, body)
