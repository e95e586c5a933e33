"""The boards' ways to the broker: a reverse tunnel each, or, with a broker of one's own, the word where that is.

The rule: a way that is lost is made again, for ever: after a random while that grows, at once when this machine woke up
or a command says that something changed. The board's host is looked up anew each time. Few connections are made at a
time; one that stands costs two threads that sleep. What a board refuses is said once and tried rarely.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.contract.errors import (
    AuthenticationFailed,
    EdgeError,
    ForwardingRefused,
    HostKeyChanged,
    LinkNotReady,
)
from agent.contract.link import BROKER_NAME, LinkConfig
from edge.certificates import CertificateAuthority
from edge.collector.broker import KIND_OWN, Broker
from edge.collector.delivered import Delivered
from edge.collector.ways import BROKER, DOWN, NOT_TRIED, REFUSED, UP
from edge.config import FleetFolder
from edge.fleet.connection import Board, connect
from edge.fleet.link import write_link
from edge.fleet.reverse import ReverseForward
from edge.fleet.wake import Wake
from edge.inventory import Device

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
"""Full jitter: the n-th attempt waits 0 to min(this, 2**n) seconds."""
RARELY_S = 600.0
"""Where a board said no, asking often changes nothing, and may lock this machine out."""
WORN_S = 30.0
"""A tunnel that stood so long begins to count anew when it is lost."""
LOOK_S = 2.0
NO_BROKER = "there is no broker yet"
OWN_ERROR = "an error of edge's own; the collector's log has it"
NEVER = float("inf")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TunnelState:
    """How a board reaches the broker.

    Attributes:
        state: `up`: through its tunnel; `broker`: it was told where the broker is; `down`; `refused`: its sshd
            forwards nothing.
        reason: why not, or None.
        since: seconds since 1970.
    """

    state: str
    reason: str | None
    since: float


@dataclass
class _Way:
    """One board's, under the lock of `Tunnels`.

    Attributes:
        due: when to make it, by the monotonic clock. attempt: how often that failed in a row.
        busy: it is being made. again: something changed since that began. gone: it is not wanted any more.
        open: the tunnel that stands.
    """

    device: Device
    state: TunnelState
    due: float
    attempt: int = 0
    busy: bool = False
    again: bool = False
    gone: bool = False
    open: ReverseForward | None = None


class Tunnels:
    """A way to the broker for each board of `set`. Any thread may call."""

    def __init__(
        self,
        fleet: FleetFolder,
        broker: Callable[[], Broker | None],
        collector_id: str,
        authority: CertificateAuthority,
    ) -> None:
        """No way is made before `set`.

        Args:
            fleet: its SSH key, and how often boards report.
            broker: the one that runs now; it may come and go, and move to another port.
            collector_id: whose acknowledgements count.
            authority: of the boards' certificates.
        """
        self._fleet = fleet
        self._broker = broker
        self._collector_id = collector_id
        self._authority = authority
        self._delivered = Delivered(fleet.telemetry / "links")
        self._ways: dict[str, _Way] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._makers = ThreadPoolExecutor(fleet.config.pool, thread_name_prefix="edge-tunnel-make")
        self._clock = threading.Thread(target=self._watch, name="edge-tunnels", daemon=True)
        self._clock.start()

    def set(self, devices: Sequence[Device]) -> None:
        """Have ways to these boards, which are enrolled, and to no others."""
        wanted = {device.device_id: device for device in devices}
        with self._changed:
            for device_id in [each for each in self._ways if each not in wanted]:
                self._drop(self._ways.pop(device_id))
            for device_id, device in wanted.items():
                known = self._ways.get(device_id)
                if known is None:
                    state = TunnelState(state=DOWN, reason=NOT_TRIED, since=time.time())
                    self._ways[device_id] = _Way(device, state, time.monotonic())
                elif _reached_otherwise(known.device, device):
                    known.device = device
                    self._make_anew(known)
                else:
                    known.device = device
            self._changed.notify_all()

    def changed(self, name: str) -> None:
        """The board called so was enrolled, or is to be told anew: make its way now."""
        with self._changed:
            for way in self._ways.values():
                if way.device.name == name:
                    self._delivered.forget(way.device.device_id)
                    self._make_anew(way)
            self._changed.notify_all()

    def states(self) -> Mapping[str, TunnelState]:
        """By device id."""
        with self._changed:
            return {device_id: way.state for device_id, way in self._ways.items()}

    def close(self) -> None:
        """End every way, and wait for it."""
        with self._changed:
            self._closed = True
            for way in self._ways.values():
                self._drop(way)
            self._changed.notify_all()
        self._clock.join()
        self._makers.shutdown(cancel_futures=True)
        with self._changed:
            self._changed.wait_for(lambda: not any(way.open for way in self._ways.values()), 10.0)

    # -- when ---------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Hand out what is due."""
        wake = Wake()
        with self._changed:
            while not self._closed:
                pause_s = self._until_due()
                self._changed.wait(pause_s)
                if wake.slept(pause_s):
                    self._all_soon()
                for way in self._due():
                    way.busy = True
                    self._makers.submit(self._make, way)

    def _until_due(self) -> float:
        waiting = [way.due for way in self._ways.values() if not way.busy and not way.open]
        return max(0.0, min([LOOK_S, *(due - time.monotonic() for due in waiting)]))

    def _due(self) -> list[_Way]:
        now = time.monotonic()
        return [way for way in self._ways.values() if not way.busy and not way.open and way.due <= now]

    def _all_soon(self) -> None:
        """This machine woke up: what failed before says nothing of now."""
        for way in self._ways.values():
            if way.state.state == DOWN:
                way.attempt = 0
                way.due = time.monotonic() + random.uniform(0, FIRST_WAIT_S)

    def _make_anew(self, way: _Way) -> None:
        way.attempt = 0
        way.due = time.monotonic()
        way.again = True
        self._drop_tunnel(way)

    def _drop(self, way: _Way) -> None:
        way.gone = True
        self._drop_tunnel(way)

    def _drop_tunnel(self, way: _Way) -> None:
        if way.open is not None:
            way.open.close()

    # -- one way, by a thread of its own --------------------------------------------------------------------

    def _make(self, way: _Way) -> None:
        """Make one way; where it is a tunnel, leave it to a thread that leads it."""
        with self._changed:
            way.again = False
        try:
            broker = self._broker()
            if way.gone or broker is None:
                self._failed(way, NO_BROKER)
            elif broker.kind == KIND_OWN:
                self._tell(way, broker)
            else:
                self._dig(way)
        except ForwardingRefused as error:
            self._failed(way, _words(error), state=REFUSED, rarely=True)
        except EdgeError as error:
            self._failed(way, _words(error), rarely=isinstance(error, (AuthenticationFailed, HostKeyChanged)))
        except Exception:
            log.exception("the way to %s failed", way.device.name)
            self._failed(way, OWN_ERROR, rarely=True)

    def _tell(self, way: _Way, broker: Broker) -> None:
        """Write where the broker is, once."""
        link = self._link(f"mqtts://{broker.address}", server_name=broker.server_name, ca=broker.ca)
        if not self._delivered.has(way.device.device_id, link):
            with connect(way.device, fleet=self._fleet) as board:
                self._write(way, board, link, tunnel=False)
            self._delivered.note(way.device.device_id, link)
        with self._changed:
            way.busy = False
            way.due = time.monotonic() if way.again else NEVER
            _say(way, BROKER, None)

    def _dig(self, way: _Way) -> None:
        board = connect(way.device, fleet=self._fleet)
        try:
            forward = ReverseForward(board, self._port)
            try:
                link = self._link(
                    f"mqtts://127.0.0.1:{forward.remote_port}",
                    server_name=BROKER_NAME,
                    ca=self._authority.certificate,
                )
                self._write(way, board, link, tunnel=True)
            except BaseException:
                forward.close()
                raise
        except BaseException:
            board.close()
            raise
        threading.Thread(
            target=self._lead, args=(way, board, forward), name=f"edge-tunnel-{way.device.name}", daemon=True
        ).start()

    def _lead(self, way: _Way, board: Board, forward: ReverseForward) -> None:
        """Lead a tunnel until it ends."""
        began = time.monotonic()
        with self._changed:
            way.busy, way.open = False, forward
            _say(way, UP, None)
            if way.gone or way.again or self._closed:
                forward.close()
        reason = forward.serve()
        board.close()
        with self._changed:
            way.open = None
            if time.monotonic() - began > WORN_S:
                way.attempt = 0
        self._failed(way, reason)

    def _failed(self, way: _Way, reason: str, *, state: str = DOWN, rarely: bool = False) -> None:
        with self._changed:
            way.busy = False
            way.due = time.monotonic() + (0.0 if way.again else _wait_s(way.attempt, rarely=rarely))
            way.attempt += 1
            if not way.gone:
                _say(way, state, reason)
            self._changed.notify_all()

    def _write(self, way: _Way, board: Board, link: LinkConfig, *, tunnel: bool) -> None:
        device = way.device
        if device.root is None:
            raise LinkNotReady(device=device.name)
        done = write_link(
            board,
            device.root,
            link,
            device_id=device.device_id,
            authority=self._authority,
            tunnel=tunnel,
        )
        if done.ended is not None:
            log.info("%s: ended the session that held an old tunnel's port there", device.name)

    def _link(self, url: str, *, server_name: str | None, ca: str | None) -> LinkConfig:
        config = self._fleet.config
        return LinkConfig(
            collector=self._collector_id,
            url=url,
            certificate="",
            ca=ca,
            server_name=server_name,
            interval_s=config.interval_s,
            outbox_bytes=config.outbox_mb * 10**6,
        )

    def _port(self) -> int | None:
        broker = self._broker()
        return broker.port if broker is not None else None


def _wait_s(attempt: int, *, rarely: bool) -> float:
    if rarely:
        return random.uniform(RARELY_S / 2, RARELY_S)
    return random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt, 16)))


def _say(way: _Way, state: str, reason: str | None) -> None:
    """Note how it is; what was said already is not said again."""
    if (way.state.state, way.state.reason) == (state, reason):
        return
    way.state = TunnelState(state=state, reason=reason, since=time.time())
    log.log(logging.WARNING if state == REFUSED else logging.INFO, "%s: %s", way.device.name, reason or state)


def _reached_otherwise(old: Device, new: Device) -> bool:
    """Whether the way to the board is another one now."""
    return any(
        getattr(old, each) != getattr(new, each) for each in ("host", "port", "user", "host_key", "root")
    )


def _words(error: EdgeError) -> str:
    return f"{error} [{error.code}]"
