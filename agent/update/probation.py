"""Probation: a generation serves while `current` still names the one before it.

The rule: healthy is what answers: the agent says that it serves this generation and is ready, its port answers
`/v2/health/ready`, and golden inputs that are sent to it are answered; all the time, in one start of the agent. One
that is to be connected to the collector is seen to be it once.
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
from agent.processes import process_told
from agent.update.asking import ask
from agent.update.child import Interrupted
from agent.update.folder import UpdateFolder
from agent.update.golden_traffic import GoldenTraffic
from agent.update.reaching import LINK_S, Reach
from agent.update.record import Reason
from agent.update.service import Service

POLL_S = 0.1
TRAFFIC_EVERY_S = 1.0
READY = "/v2/health/ready"
ANSWER_TIMEOUT_S = 5.0
INSIST_AFTER = 0.5
"""Share of the deadline after which an agent that does not say that it followed a `reload` is restarted. Not sooner:
one that is starting, on a slow board for half a minute, would be ended in the middle of it. One that says so and loads
its models has the whole deadline."""
LONGEST_WAIT_S = 3 * LINK_S
"""Beyond the probation, for an agent that is to be seen connected, or whose last looks were not all good."""
MISSES = 3
"""Looks in a row that must fail before a healthy agent is called unhealthy."""


@dataclass(frozen=True)
class Look:
    """What was seen of the agent: the start of it that serves, or why it does not; `fatal` when it said so itself.
    `loads`: it listens where it should, and loads the models of this generation.

    `last_words` is what an agent that has ended said; whether it was of this attempt, its `boot` tells.
    """

    boot: str = ""
    port: int = 0
    reason: str = ""
    fatal: Reason | None = None
    loads: bool = False
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
    if config.port not in (0, running.port):
        return Look(reason=f"the agent listens on port {running.port}, not on {config.port}")
    if not running.ready:
        return Look(reason="the agent is not ready", loads=True)
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
    if _deaf(folder, config):
        service.restart()
    else:
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
        if not asked_again and waited > timeout_s * INSIST_AFTER:
            asked_again = True
            if not seen.loads:
                service.restart()
        time.sleep(POLL_S)


def probation(
    desired: DesiredState,
    *,
    folder: UpdateFolder,
    config: BoardConfig,
    service: Service,
    traffic: Sequence[GoldenTraffic],
    linked: bool,
    interrupted: Callable[[], bool],
) -> Reason | None:
    """Let a generation serve for its probation. Why it failed, or None.

    Args:
        desired: what is tried.
        folder: the board's.
        config: the board's.
        service: who runs the agent.
        traffic: to each of its models.
        linked: it is to be seen connected to the collector.
        interrupted: asked again and again; True ends the probation.

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
    reach = Reach(folder, expected=linked)
    return _watch(
        first, desired, folder=folder, config=config, traffic=traffic, reach=reach, interrupted=interrupted
    )


def _watch(
    first: Look,
    desired: DesiredState,
    *,
    folder: UpdateFolder,
    config: BoardConfig,
    traffic: Sequence[GoldenTraffic],
    reach: Reach,
    interrupted: Callable[[], bool],
) -> Reason | None:
    """Why the generation did not stay healthy, or None."""
    number, host = desired.generation.number, host_of(config)
    end = time.monotonic() + desired.terms.probation_s
    next_traffic, answered = 0.0, False
    unhealthy, unanswered = 0, 0

    def failed(reason: str) -> Reason:
        probation_s = f"{desired.terms.probation_s:g}"
        return Reason.of(ProbationFailed(generation=number, probation_s=probation_s, reason=reason))

    while (now := time.monotonic()) < end or not answered or unhealthy or unanswered or not reach.settled:
        if interrupted():
            raise Interrupted
        seen = look(folder, config, number)
        if not seen.reason and seen.boot != first.boot:
            return failed("the agent went down and was started again")
        unhealthy = unhealthy + 1 if seen.reason else 0
        if seen.fatal or unhealthy >= MISSES:
            return failed(seen.reason)
        if not unhealthy and now >= next_traffic:
            reason = next((why for why in (one.send(host, seen.port) for one in traffic) if why), None)
            unanswered, answered = (unanswered + 1, answered) if reason else (0, True)
            if reason and unanswered >= MISSES:
                return failed(reason)
            lost = reach.look(host, seen.port, generation=number)
            if lost is not None:
                return Reason.of(lost)
            next_traffic = now + (POLL_S if reason else TRAFFIC_EVERY_S)
        reach.settled = reach.settled or (now >= end and reach.nobody_there) or now >= end + 2 * LINK_S
        if now >= end + LONGEST_WAIT_S:
            return failed(seen.reason or "it was not seen to answer well at the end")
        time.sleep(POLL_S)
    return None


def _deaf(folder: UpdateFolder, config: BoardConfig) -> bool:
    """Whether an agent runs that does not answer on its port: it would not follow a request either."""
    port = process_told(folder.running).get("port")
    if not isinstance(port, int):
        return False
    try:
        ask(host_of(config), port, "GET", READY, timeout_s=ANSWER_TIMEOUT_S)
    except (OSError, http.client.HTTPException):
        return True
    return False


def _error(running: RunningAgent) -> Reason | None:
    """Why the agent says that it can't serve, or None."""
    if not running.error:
        return None
    return Reason.told(str(running.error.get("code", "")), str(running.error.get("message", "")))


def _ask(host: str, running: RunningAgent) -> Look:
    try:
        status, _ = ask(host, running.port, "GET", READY, timeout_s=ANSWER_TIMEOUT_S)
    except (OSError, http.client.HTTPException) as error:
        return Look(reason=f"port {running.port} does not answer: {type(error).__name__} {error}")
    if status != 200:
        return Look(reason=f"its readiness was answered with {status}")
    return Look(boot=running.boot, port=running.port)
