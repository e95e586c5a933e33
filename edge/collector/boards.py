"""The boards as the collector reaches them: who is of the fleet, the way to each, and how long it has said nothing.

The rule: the inventory says who is there, the tunnels say how each is reached, and only what was committed counts as
heard. What is written to the store of it is what changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge.collector.members import Members
from edge.collector.records import BoardLink
from edge.collector.silence import Silence
from edge.collector.ways import DOWN, NOT_TRIED, OPEN
from edge.telemetry.ingest import StreamAck
from edge.telemetry.records import LinkState

if TYPE_CHECKING:
    from edge.collector.tunnels import Tunnels

LATE_S = 2.0
"""For the road, on top of two intervals."""


class Boards:
    """The enrolled boards of a fleet folder; any thread may ask.

    The tunnels are made for the first board: they bring SSH along, and a collector that is asked for answers before.
    """

    def __init__(self, members: Members, make_tunnels: Callable[[], Tunnels], *, interval_s: float) -> None:
        """Nothing is done yet.

        Args:
            members: who is of the fleet.
            make_tunnels: called once, for the first board.
            interval_s: how often boards report; a board whose news is older sends what waited.
        """
        self._members = members
        self._late_s = 2 * interval_s + LATE_S
        self._late: set[str] = set()
        self._make_tunnels = make_tunnels
        self._tunnels: Tunnels | None = None
        self._silence = Silence(time.monotonic())
        self._last_seen: dict[str, float] = {}
        self._written: dict[str, LinkState] = {}
        self._lock = threading.Lock()
        self._following = threading.Lock()

    def follow(self) -> None:
        """Have a way to every enrolled board, and none to others."""
        with self._following:
            changed = self._members.refresh()
            enrolled = self._members.enrolled
            if self._tunnels is None and enrolled:
                self._tunnels = self._make_tunnels()
                changed = True
            if changed and self._tunnels is not None:
                self._tunnels.set(tuple(enrolled.values()))
                with self._lock:
                    self._silence.forget(enrolled.keys())

    def changed(self, name: str) -> None:
        """A board was enrolled, or removed: look at it now."""
        self.follow()
        if self._tunnels is not None:
            self._tunnels.changed(name)

    def heard(self, acks: Sequence[StreamAck], rx: float) -> None:
        """Messages of these streams were committed; they came at `rx`, seconds since 1970."""
        seen = dict.fromkeys((ack.device for ack in acks), rx)
        late = {ack.device for ack in acks if ack.newest_at is not None and rx - ack.newest_at > self._late_s}
        with self._lock:
            self._last_seen.update(seen)
            self._silence.heard(seen.keys())
            self._late = self._late - seen.keys() | late

    def tick(self, *, connected: bool) -> Mapping[str, LinkState]:
        """Time has passed; the states that changed since the last call, to be written."""
        links = self._links()
        open_ways = [device for device, (tunnel, _) in links.items() if tunnel in OPEN]
        with self._lock:
            self._silence.tick(time.monotonic(), listening=open_ways if connected else ())
            now = {
                device: LinkState(
                    tunnel=tunnel,
                    reason=reason,
                    silent_s=round(self._silence.of(device), 1),
                    backlog=device in self._late,
                )
                for device, (tunnel, reason) in links.items()
            }
        fresh = {device: state for device, state in now.items() if self._written.get(device) != state}
        self._written = now
        return fresh

    def forget_written(self) -> None:
        """The store is another one: nothing of it was written there."""
        self._written = {}

    def status(self) -> tuple[BoardLink, ...]:
        """All of them, by name."""
        links = self._links()
        with self._lock:
            return tuple(
                BoardLink(
                    name=device.name,
                    device=device.device_id,
                    tunnel=links[device.device_id][0],
                    reason=links[device.device_id][1],
                    silent_s=round(self._silence.of(device.device_id), 1),
                    backlog=device.device_id in self._late,
                    last_seen=self._last_seen.get(device.device_id),
                )
                for device in sorted(self._members.enrolled.values(), key=lambda device: device.name)
                if device.device_id in links
            )

    def close(self) -> None:
        """End every way."""
        if self._tunnels is not None:
            self._tunnels.close()

    def _links(self) -> Mapping[str, tuple[str, str | None]]:
        states = self._tunnels.states() if self._tunnels is not None else {}
        return {
            device: (states[device].state, states[device].reason) if device in states else (DOWN, NOT_TRIED)
            for device in self._members.enrolled
        }
