"""Alerts: rules over what boards are now, as TOML in the fleet folder (`alerts.toml`).

    [too-hot]
    when = "temperature_c > 80"
    for_s = 30
    command = ["notify-send", "edge"]
    webhook = "https://example.org/hook"
    mqtt = "alerts/home"

The rule: an alert begins once, when its condition has held for so long, and ends once, when it holds no more. What is
not known neither begins nor ends anything. Evaluation is a pure function; its state is in the store, and is written
before anyone is told, so that a collector that is killed tells nothing twice.
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.contract.errors import AlertRuleInvalid, EdgeError
from agent.contract.names import check_name
from edge.suggestion import did_you_mean
from edge.telemetry.records import BoardNow, ModelWindow

ALERTS_TOML = "alerts.toml"
TOPICS = "alerts/"
"""Topics for alerts begin so; the collector may write to them."""
COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
_KEYS = ("when", "for_s", "webhook", "command", "mqtt")

Value = Callable[[BoardNow], float | None]


def _of_window(read: Callable[[Any], float | None]) -> Value:
    return lambda board: read(board.window) if board.window and board.window.cpu_percent is not None else None


def _worst(read: Callable[[ModelWindow], float | None]) -> Value:
    """The largest of the board's models."""
    return lambda board: max((v for rate in board.rates if (v := read(rate)) is not None), default=None)


FIELDS: dict[str, Value] = {
    "temperature_c": _of_window(lambda window: window.now.temperature_c),
    "cpu_percent": _of_window(lambda window: window.cpu_percent),
    "agent_cpu_percent": _of_window(lambda window: window.agent_cpu_percent),
    "memory_percent": _of_window(lambda w: 100 * w.now.memory_used_bytes / max(1, w.now.memory_total_bytes)),
    "agent_memory_bytes": _of_window(lambda window: window.now.agent_memory_bytes),
    "disk_free_bytes": _of_window(lambda window: window.now.disk_free_bytes),
    "requests_per_s": _worst(lambda rate: rate.requests / rate.seconds if rate.seconds else None),
    "errors_percent": _worst(lambda rate: 100 * rate.failed / rate.requests if rate.requests else None),
    "p50_ms": _worst(lambda rate: rate.latency_ms.quantile(0.5)),
    "p95_ms": _worst(lambda rate: rate.latency_ms.quantile(0.95)),
    "compute_p95_ms": _worst(lambda rate: rate.compute_ms.quantile(0.95)),
    "silent_s": lambda board: board.link.silent_s if board.link else None,
    "gaps": lambda board: board.gaps,
    "breaks": lambda board: board.breaks,
}
"""What a condition can speak of; of several models the largest value counts. A board that is silent has only the last
three."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One alert.

    Attributes:
        name: of its section. when: the condition as it was written.
        field, comparison, threshold: of the condition.
        for_s: how long it must hold before the alert begins.
        webhook, command, mqtt: who is told: a URL, a command's arguments, a topic.
    """

    name: str
    when: str
    field: str
    comparison: str
    threshold: float
    for_s: float = 0.0
    webhook: str | None = None
    command: tuple[str, ...] = ()
    mqtt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Held:
    """A condition holds: since when, whether its alert has begun, the newest value."""

    since: float
    begun: bool
    value: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """An alert began or ended, at `at`; `value` is what decided."""

    rule: Rule
    device: str
    begins: bool
    value: float
    at: float


State = Mapping[tuple[str, str], Held]
"""By rule and device; what is not in it does not hold."""


def evaluate(
    rules: Iterable[Rule], boards: Iterable[BoardNow], state: State, *, now: float
) -> tuple[State, tuple[Change, ...]]:
    """What holds now, and what began or ended. Alerts of rules and boards that are gone are forgotten.

    Args:
        rules: all of them.
        boards: all of them, as they are now.
        state: as the last call gave it.
        now: seconds since 1970.
    """
    boards = tuple(boards)
    after: dict[tuple[str, str], Held] = {}
    changes: list[Change] = []
    for rule in rules:
        for board in boards:
            key = (rule.name, board.device)
            held = _next(rule, FIELDS[rule.field](board), state.get(key), now)
            before = state.get(key)
            if held is not None:
                after[key] = held
            was, begun = bool(before and before.begun), bool(held and held.begun)
            if was != begun:
                value = held.value if held else FIELDS[rule.field](board) or 0.0
                changes.append(Change(rule=rule, device=board.device, begins=begun, value=value, at=now))
    return after, tuple(changes)


def _next(rule: Rule, value: float | None, held: Held | None, now: float) -> Held | None:
    if value is None:
        return held if held and held.begun else None
    if not COMPARISONS[rule.comparison](value, rule.threshold):
        return None
    since = held.since if held and held.since <= now else now
    return Held(since=since, begun=bool(held and held.begun) or now - since >= rule.for_s, value=value)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of an `alerts.toml`; none where there is no such file.

    Raises:
        AlertRuleInvalid: it can't be read, or a rule says what can't be.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise AlertRuleInvalid(rule=path.stem, path=path, reason=str(error)) from error
    return tuple(_rule(name, section, path) for name, section in document.items())


def _rule(name: str, section: Any, path: Path) -> Rule:
    def invalid(reason: str) -> AlertRuleInvalid:
        return AlertRuleInvalid(rule=name, path=path, reason=reason)

    try:
        check_name(name, what="rule")
    except EdgeError as error:
        raise invalid(str(error)) from error
    if not isinstance(section, dict):
        raise invalid(f"it must be a section, `[{name}]`")
    for key in section:
        if key not in _KEYS:
            raise invalid(f"`{key}` is not known{did_you_mean(key, _KEYS)}")
    when, for_s, command = section.get("when"), section.get("for_s", 0), section.get("command", [])
    condition = _CONDITION.fullmatch(when) if isinstance(when, str) else None
    if condition is None:
        raise invalid("`when` must be like `temperature_c > 80`")
    if condition[1] not in FIELDS:
        raise invalid(f"`{condition[1]}` is not known{did_you_mean(condition[1], FIELDS)}")
    if isinstance(for_s, bool) or not isinstance(for_s, (int, float)) or not 0 <= for_s <= 86_400:
        raise invalid("`for_s` must be a number from 0 to 86400")
    if not isinstance(command, list) or not all(isinstance(part, str) for part in command):
        raise invalid("`command` must be a list of texts")
    for key, start in (("webhook", ("https://", "http://")), ("mqtt", (TOPICS,))):
        told = section.get(key)
        if told is not None and (not isinstance(told, str) or not told.startswith(start)):
            raise invalid(f"`{key}` must be {'a URL' if key == 'webhook' else f'a topic below `{TOPICS}`'}")
    if re.search(r"[+#\x00]", section.get("mqtt") or ""):
        raise invalid("`mqtt` must be a topic without wildcards")
    return Rule(
        name=name, when=str(when), field=condition[1], comparison=condition[2], threshold=float(condition[3]),
        for_s=float(for_s), webhook=section.get("webhook"), command=tuple(command), mqtt=section.get("mqtt"),
    )  # fmt: skip
