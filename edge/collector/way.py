"""One board's way to the broker, and when it is tried again.

The rule: full jitter, so that boards that were lost together do not come back together; and where a board said no,
asking often changes nothing, and may lock this machine out.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass

from agent.contract.errors import AuthenticationFailed, EdgeError, ForwardingRefused, HostKeyChanged
from edge.collector.ways import DOWN, NOT_TRIED, REFUSED
from edge.fleet.connection import Board
from edge.fleet.reverse import ReverseForward
from edge.inventory import Device

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""The n-th attempt waits 0 to min(this, 2**n) seconds."""
RARELY_S = 600.0
SAID_NO = (ForwardingRefused, AuthenticationFailed, HostKeyChanged)
NEVER = float("inf")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TunnelState:
    """How a board reaches the broker.

    Attributes:
        state: a word of `edge.collector.ways`.
        reason: why not, or None.
        since: seconds since 1970.
    """

    state: str
    reason: str | None
    since: float


@dataclass(frozen=True)
class Tunnel:
    """An open connection and the port on it."""

    board: Board
    forward: ReverseForward


class Way:
    """The way to one board; its owner sees to it that one thread at a time changes it.

    Attributes:
        device: how the board is reached. A board that moved gets another way.
        state: how it is. due: when to make it, by the monotonic clock.
        busy: it is being made. again: the board is to be told anew when it is made. gone: it is not wanted any more.
        tunnel: what stands, or None.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.state = TunnelState(state=DOWN, reason=NOT_TRIED, since=time.time())
        self.due = time.monotonic()
        self.busy = self.again = self.gone = False
        self.tunnel: Tunnel | None = None
        self._attempt = 0

    @property
    def waits(self) -> bool:
        """It is to be made when it is due."""
        return not self.busy and self.tunnel is None

    def leads_to(self, device: Device) -> bool:
        """Whether it is the way to `device` as it is reached now."""
        return _place(self.device) == _place(device)

    def soon(self, *, within_s: float = 0.0) -> None:
        """What failed before says nothing of now."""
        self._attempt = 0
        self.due = time.monotonic() + random.uniform(0, within_s)

    def failed(self, error: EdgeError | str) -> None:
        """It is lost, or could not be made."""
        said_no = isinstance(error, SAID_NO)
        most_s = RARELY_S if said_no else min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._attempt, 16))
        self.due = time.monotonic() + random.uniform(most_s / 2 if said_no else 0, most_s)
        self._attempt += 1
        reason = f"{error} [{error.code}]" if isinstance(error, EdgeError) else error
        self.say(REFUSED if isinstance(error, ForwardingRefused) else DOWN, reason)

    def say(self, state: str, reason: str | None = None) -> None:
        """Note how it is; what was said already is not said again."""
        if self.gone or (self.state.state, self.state.reason) == (state, reason):
            return
        self.state = TunnelState(state=state, reason=reason, since=time.time())
        level = logging.WARNING if state == REFUSED else logging.INFO
        log.log(level, "%s: %s", self.device.name, reason or state)


def _place(device: Device) -> tuple[object, ...]:
    return device.host, device.port, device.user, device.host_key, device.root
