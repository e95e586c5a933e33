"""Probation: a generation serves while `current` still names the one before it.

The rule: healthy is what answers: the agent says that it serves this generation and is ready, its port answers
`/v2/health/ready`, and golden inputs that are sent to it are answered; all the time, in one start of the agent.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agent.contract.board import BoardConfig, RunningAgent
from agent.contract.codec import decode
from agent.contract.errors import ContractError, ProbationFailed, TrialTimedOut
from agent.contract.release import DesiredState
from agent.plain_file import read_plain
from agent.update.asking import ask
from agent.update.child import Interrupted
from agent.update.folder import UpdateFolder
from agent.update.golden_traffic import GoldenTraffic
from agent.update.record import Reason
from agent.update.service import Service

POLL_S = 0.1
TRAFFIC_EVERY_S = 1.0
ANSWER_TIMEOUT_S = 5.0
ASK_AGAIN_S = 15.0
"""How long the agent may take to follow a `reload` before it is restarted, at most half of the deadline."""
MISSES = 3
"""Looks in a row that must fail before a healthy agent is called unhealthy."""


@dataclass(frozen=True)
class Look:
    """What was seen of the agent: the start of it that serves, or why it does not; `fatal` when it said so itself.

    `last_words` is what an agent that has ended said; whether it was of this attempt, its `boot` tells.
    """

    boot: str = ""
    port: int = 0
    reason: str = ""
    fatal: Reason | None = None
    last_words: Reason | None = None


def look(folder: UpdateFolder, config: BoardConfig, number: int) -> Look:
    """Whether generation `number` serves now."""
    try:
        running = decode(RunningAgent, read_plain(folder.running))
    except FileNotFoundError:
        return Look(reason="no agent runs")
    except (OSError, ValueError, ContractError) as error:
        return Look(reason=f"run/agent.json can't be read: {error}")
    if not os.path.exists(f"/proc/{running.pid}"):  # noqa: PTH110
        said = _error(running) if running.generation == number else None
        return Look(boot=running.boot, reason="the agent has ended", last_words=said)
    if running.generation != number:
        return Look(reason=f"the agent serves generation {running.generation}")
    if (told := _error(running)) is not None:
        return Look(reason=told.message, fatal=told)
    if not running.ready:
        return Look(reason="the agent is not ready")
    return _ask(host_of(config), running)


def served_generation(folder: UpdateFolder) -> int | None:
    """Number of the generation that a live agent says it serves, ready or not; None where there is no live one."""
    try:
        running = decode(RunningAgent, read_plain(folder.running))
    except (OSError, ValueError, ContractError):
        return None
    return running.generation if os.path.exists(f"/proc/{running.pid}") else None  # noqa: PTH110


def host_of(config: BoardConfig) -> str:
    """Where the agent is reached from the board itself."""
    return "127.0.0.1" if config.address in ("0.0.0.0", "::", "") else config.address  # noqa: S104


def serve(
    number: int,
    *,
    folder: UpdateFolder,
    config: BoardConfig,
    service: Service,
    timeout_s: float,
    interrupted: Callable[[], bool] = lambda: False,
) -> Look:
    """Bring the agent to the generation that the links name, and wait until it serves.

    Returns:
        The last look; without `reason` when it serves.

    Raises:
        Interrupted: `interrupted` said so.
        InstallFailed: whoever runs the agent can't be told.
    """
    seen = look(folder, config, number)
    if not seen.reason:
        return seen
    begun = time.monotonic()
    asked_again = False
    before = seen.boot
    service.reload()
    while True:
        seen = look(folder, config, number)
        if seen.last_words and seen.boot != before:
            return replace(seen, reason=seen.last_words.message, fatal=seen.last_words)
        waited = time.monotonic() - begun
        if not seen.reason or waited > timeout_s or seen.fatal:
            return seen
        if interrupted():
            raise Interrupted
        if not asked_again and waited > min(ASK_AGAIN_S, timeout_s / 2):
            service.restart()
            asked_again = True
        time.sleep(POLL_S)


def probation(
    desired: DesiredState,
    *,
    folder: UpdateFolder,
    config: BoardConfig,
    service: Service,
    traffic: Sequence[GoldenTraffic],
    interrupted: Callable[[], bool],
) -> Reason | None:
    """Let a generation serve for its probation. Why it failed, or None.

    Raises:
        Interrupted: `interrupted` said so.
    """
    terms, number = desired.terms, desired.generation.number
    first = serve(
        number,
        folder=folder,
        config=config,
        service=service,
        timeout_s=terms.start_timeout_s,
        interrupted=interrupted,
    )
    if first.fatal:
        return first.fatal
    if first.reason:
        doing = f"starting ({first.reason})"
        timed_out = TrialTimedOut(generation=number, doing=doing, timeout_s=f"{terms.start_timeout_s:g}")
        return Reason.of(timed_out)
    reason = _watch(first, desired, folder=folder, config=config, traffic=traffic, interrupted=interrupted)
    if reason is None:
        return None
    failed = ProbationFailed(generation=number, probation_s=f"{terms.probation_s:g}", reason=reason)
    return Reason.of(failed)


def _watch(
    first: Look,
    desired: DesiredState,
    *,
    folder: UpdateFolder,
    config: BoardConfig,
    traffic: Sequence[GoldenTraffic],
    interrupted: Callable[[], bool],
) -> str | None:
    """Why the generation did not stay healthy, or None."""
    end = time.monotonic() + desired.terms.probation_s
    next_traffic, answered = 0.0, False
    unhealthy, unanswered = 0, 0
    while time.monotonic() < end or not answered or unhealthy or unanswered:
        if interrupted():
            raise Interrupted
        seen = look(folder, config, desired.generation.number)
        if not seen.reason and seen.boot != first.boot:
            return "the agent went down and was started again"
        unhealthy = unhealthy + 1 if seen.reason else 0
        if seen.fatal or unhealthy >= MISSES:
            return seen.reason
        if not unhealthy and time.monotonic() >= next_traffic:
            host = host_of(config)
            reason = next((why for why in (one.send(host, seen.port) for one in traffic) if why), None)
            unanswered, answered = (unanswered + 1, answered) if reason else (0, True)
            if reason and unanswered >= MISSES:
                return reason
            next_traffic = time.monotonic() + (POLL_S if reason else TRAFFIC_EVERY_S)
        time.sleep(POLL_S)
    return None


def _error(running: RunningAgent) -> Reason | None:
    """Why the agent says that it can't serve, or None."""
    if not running.error:
        return None
    return Reason.told(str(running.error.get("code", "")), str(running.error.get("message", "")))


def _ask(host: str, running: RunningAgent) -> Look:
    try:
        status, _ = ask(host, running.port, "GET", "/v2/health/ready", timeout_s=ANSWER_TIMEOUT_S)
    except (OSError, http.client.HTTPException) as error:
        return Look(reason=f"port {running.port} does not answer: {type(error).__name__} {error}")
    if status != 200:
        return Look(reason=f"its readiness was answered with {status}")
    return Look(boot=running.boot, port=running.port)
