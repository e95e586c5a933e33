"""The boards' ways to the broker: a reverse tunnel each, or, with a broker of one's own, the word where that is.

The rule: a way that is lost is made again, for ever: after a random while that grows, at once when this machine woke up
or a command says that something changed. The board's host is looked up anew each time. Few connections are made at a
time; one that stands costs two threads that sleep.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue

from agent.contract.errors import EdgeError
from edge.certificates import CertificateAuthority
from edge.collector.broker import KIND_OWN, Broker
from edge.collector.leash import allow_many_files
from edge.collector.links import Links
from edge.collector.way import FIRST_WAIT_S, NEVER, Tunnel, TunnelState, Way
from edge.collector.ways import BROKER, DOWN, UP
from edge.config import FleetFolder
from edge.fleet.connection import connect
from edge.fleet.reverse import ReverseForward
from edge.fleet.wake import Wake
from edge.inventory import Device

WORN_S = 5.0
"""A tunnel that stood so long says that the way is good: its loss begins to count anew."""
LOOK_S = 2.0
NO_BROKER_S = 0.2
END_S = 10.0
NO_BROKER = "there is no broker yet"
OWN_ERROR = "an error of edge's own; the collector's log has it"

log = logging.getLogger(__name__)


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
        allow_many_files()
        self._fleet = fleet
        self._broker = broker
        self._links = Links(fleet, collector_id, authority)
        self._ways: dict[str, Way] = {}
        self._led = 0
        self._changed = threading.Condition()  # everything here and in the ways is changed under it
        self._closed = False
        # Threads that end with the process: an executor's would let it wait for a board that does not answer
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for number in range(fleet.config.pool):
            threading.Thread(target=self._work_off, name=f"edge-tunnel-make-{number}", daemon=True).start()
        threading.Thread(target=self._watch, name="edge-tunnels", daemon=True).start()

    def set(self, devices: Sequence[Device]) -> None:
        """Have ways to these boards, which are enrolled, and to no others."""
        wanted = {device.device_id: device for device in devices}
        with self._changed:
            for device_id, way in list(self._ways.items()):
                if device_id not in wanted or not way.leads_to(wanted[device_id]):
                    _give_up(self._ways.pop(device_id))
            for device_id, device in wanted.items():
                self._ways.setdefault(device_id, Way(device)).device = device
            self._changed.notify_all()

    def changed(self, name: str) -> None:
        """The board called so was enrolled: have it told anew, through a tunnel that stands or a new one."""
        with self._changed:
            for way in [way for way in self._ways.values() if way.device.name == name]:
                self._links.forget(way.device)
                way.again = True
                way.soon()
                if way.tunnel is not None:
                    self._work.put(partial(self._tell_again, way))
            self._changed.notify_all()

    def states(self) -> Mapping[str, TunnelState]:
        """By device id."""
        with self._changed:
            return {device_id: way.state for device_id, way in self._ways.items()}

    def close(self) -> None:
        """End every way that stands, and wait for it."""
        with self._changed:
            self._closed = True
            for way in self._ways.values():
                _give_up(way)
            self._changed.notify_all()
            for _ in range(self._fleet.config.pool):
                self._work.put(None)
            self._changed.wait_for(lambda: self._led == 0, END_S)

    def _watch(self) -> None:
        """Hand out what is due."""
        wake = Wake()
        with self._changed:
            while not self._closed:
                there = self._broker() is not None
                pause_s = self._until_due() if there else NO_BROKER_S
                self._changed.wait(pause_s)
                now, slept = time.monotonic(), wake.slept(pause_s)
                for way in [way for way in self._ways.values() if way.waits]:
                    if not there:
                        way.say(DOWN, NO_BROKER)
                        continue
                    if slept and way.state.state == DOWN:
                        way.soon(within_s=FIRST_WAIT_S)
                    if way.due <= now:
                        way.busy = True
                        self._work.put(partial(self._make, way))

    def _until_due(self) -> float:
        waiting = [way.due - time.monotonic() for way in self._ways.values() if way.waits]
        return max(0.0, min([LOOK_S, *waiting]))

    def _work_off(self) -> None:
        while (work := self._work.get()) is not None and not self._closed:
            work()

    # -- one way, by one thread -----------------------------------------------------------------------------

    def _make(self, way: Way) -> None:
        """Make one way; where it is a tunnel, leave it to a thread that leads it."""
        with self._changed:
            way.again = False
        try:
            broker = self._broker()
            if broker is None:
                self._lost(way, NO_BROKER)
            elif broker.kind == KIND_OWN:
                self._links.to(broker, way.device)
                self._told(way)
            else:
                tunnel = self._dig(way.device)
                name = f"edge-tunnel-{way.device.name}"
                threading.Thread(target=self._lead, args=(way, tunnel), name=name, daemon=True).start()
        except EdgeError as error:
            self._lost(way, error)
        except Exception:
            log.exception("the way to %s failed", way.device.name)
            self._lost(way, OWN_ERROR)

    def _dig(self, device: Device) -> Tunnel:
        """A tunnel to the board, of which the board was told."""
        board = connect(device, fleet=self._fleet)
        try:
            tunnel = Tunnel(board, ReverseForward(board, self._port))
            try:
                self._links.through(tunnel, device)
            except BaseException:
                tunnel.forward.close()
                raise
        except BaseException:
            board.close()
            raise
        return tunnel

    def _lead(self, way: Way, tunnel: Tunnel) -> None:
        """Lead a tunnel until it ends."""
        with self._changed:
            self._led += 1
            way.busy, way.tunnel = False, tunnel
            way.say(UP)
            if way.gone or self._closed:
                tunnel.forward.close()
            elif way.again:
                self._work.put(partial(self._tell_again, way))
        began = time.monotonic()
        reason = tunnel.forward.serve()
        tunnel.board.close()
        with self._changed:
            self._led -= 1
            way.tunnel = None
            if time.monotonic() - began > WORN_S:
                way.soon()
        self._lost(way, reason)

    def _tell_again(self, way: Way) -> None:
        """Through a tunnel that stands; where that fails, it does not stand."""
        with self._changed:
            way.again, tunnel = False, way.tunnel
        if tunnel is None:
            return
        try:
            self._links.through(tunnel, way.device)
        except (EdgeError, OSError) as error:
            log.info("%s: could not be told anew: %s", way.device.name, error)
            tunnel.forward.close()

    def _told(self, way: Way) -> None:
        with self._changed:
            way.busy = False
            way.due = way.due if way.again else NEVER
            way.say(BROKER)

    def _lost(self, way: Way, error: EdgeError | str) -> None:
        with self._changed:
            way.busy = False
            way.failed(error)
            if way.again:
                way.soon()
            self._changed.notify_all()

    def _port(self) -> int | None:
        broker = self._broker()
        return broker.port if broker is not None else None


def _give_up(way: Way) -> None:
    way.gone = True
    if way.tunnel is not None:
        way.tunnel.forward.close()
