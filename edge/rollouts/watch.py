"""What is known of the boards of a rollout, out of the telemetry store, as the gate wants it.

The rule: one span for all boards that are compared, given by two positions in the store; and what can't be read is
nothing known, which holds a rollout and never lets it pass.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence

from agent.contract.errors import CollectorFailed, StoreMissing, TelemetryError
from agent.contract.messages import Reported
from edge.collector import client
from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.rollouts.awake import AwakeClock
from edge.rollouts.evidence import BoardEvidence, Evidence, UpdateEnd
from edge.rollouts.fold import MemberNow, Rollout
from edge.rollouts.plan import Member
from edge.rollouts.state import MemberState
from edge.telemetry import query
from edge.telemetry.records import LinkState, ModelWindow
from edge.telemetry.store import Store

MOST_PEERS = 50
"""Boards of one profile that are compared with, the first of the plan's order; more make nothing surer."""
LOOK_AFTER_S = 5.0
"""How often it is looked whether the collector runs."""

ENDS = {
    MemberState.WAITING: UpdateEnd.WAITING,
    MemberState.UPDATED: UpdateEnd.CONFIRMED,
    MemberState.UNCHANGED: UpdateEnd.CONFIRMED,
    MemberState.FAILED: UpdateEnd.FAILED,
}


class Watch:
    """The store of one fleet, seen from a rollout. For the rollout's own thread, but `report`."""

    def __init__(self, fleet: FleetFolder) -> None:
        self._fleet = fleet
        self._store: Store | None = None
        self._looked = -LOOK_AFTER_S
        self._before: dict[tuple[str, tuple[int, ...]], tuple[ModelWindow, ...]] = {}
        self._silent_before: dict[str, float] = {}
        self._clock = AwakeClock()
        self._cut_off_since: dict[str, float] = {}

    def keep_collecting(self) -> None:
        """Have a collector there; where it does not start nothing new is known, and the gate holds."""
        if time.monotonic() - self._looked >= LOOK_AFTER_S:
            with contextlib.suppress(CollectorFailed):
                client.ensure(self._fleet)
            self._looked = time.monotonic()

    def mark(self) -> int | None:
        """Where the store ends now; None where it can't be read."""
        try:
            store = self._opened()
            return query.position(store) if store else 0
        except TelemetryError:
            self.close()
            return None

    def span_before(self, seconds: float) -> tuple[int, ...]:
        """The last `seconds` until now, as two positions; empty where nothing was stored, or can't be read."""
        try:
            store = self._opened()
            first = next(query.samples(store, since=time.time() - seconds), None) if store else None
            return (first.position - 1, query.position(store)) if store and first else ()
        except TelemetryError:
            self.close()
            return ()

    def evidence(self, rollout: Rollout) -> Evidence:
        """What is known of the wave at work and of those that it is compared with."""
        try:
            return self._evidence(rollout)
        except TelemetryError:
            self.close()
            nothing_told = tuple(
                BoardEvidence(
                    device=member.device_id,
                    name=member.device,
                    profile=member.profile,
                    end=_end(rollout.members[member.device]),
                )
                for member in rollout.current_wave.members
            )
            return Evidence(
                release=rollout.plan.release, wave=nothing_told, peers=(), waves=len(rollout.plan.waves)
            )

    def _evidence(self, rollout: Rollout) -> Evidence:
        wave = rollout.current_wave.members
        links = self._links([member.device_id for member in wave])
        silent = {device_id: link.silent_s for device_id, link in links.items()}
        for member in wave:
            if rollout.members[member.device].state is MemberState.WAITING:
                self._silent_before[member.device_id] = silent.get(member.device_id, 0.0)
        return Evidence(
            release=rollout.plan.release,
            wave=tuple(
                self._board(
                    rollout,
                    member.device_id,
                    member.profile,
                    name=member.device,
                    end=_end(rollout.members[member.device]),
                    silent_s=self._silent_since(member.device_id, silent.get(member.device_id)),
                    cut_off_s=self._cut_off_s(member.device_id, links.get(member.device_id)),
                )
                for member in wave
            ),
            peers=tuple(
                self._board(rollout, device_id, profile) for device_id, profile in self._peers(rollout)
            ),
            waves=len(rollout.plan.waves),
        )

    def report(self, device_id: str) -> Reported | None:
        """A board's newest verified report that came over MQTT. Any thread may ask."""
        try:
            with Store.open(self._fleet.store) as store:
                return query.report(store, device_id)
        except TelemetryError:
            return None

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _board(
        self,
        rollout: Rollout,
        device_id: str,
        profile: str,
        *,
        name: str = "",
        end: UpdateEnd = UpdateEnd.PENDING,
        silent_s: float | None = None,
        cut_off_s: float = 0.0,
    ) -> BoardEvidence:
        return BoardEvidence(
            device=device_id,
            name=name,
            profile=profile,
            end=end,
            silent_s=silent_s,
            cut_off_s=cut_off_s,
            now=self._windows(device_id, rollout.mark, None) if rollout.mark is not None else (),
            before=self._windows_before(device_id, rollout.before),
        )

    def _windows(self, device_id: str, after: int, until: int | None) -> tuple[ModelWindow, ...]:
        store = self._opened()
        return query.windows(store, device=device_id, after=after, until=until) if store else ()

    def _windows_before(self, device_id: str, span: tuple[int, ...]) -> tuple[ModelWindow, ...]:
        """They do not change any more."""
        if len(span) != 2:
            return ()
        if (device_id, span) not in self._before:
            self._before[device_id, span] = self._windows(device_id, span[0], span[1])
        return self._before[device_id, span]

    def _links(self, devices: Sequence[str]) -> dict[str, LinkState]:
        store = self._opened()
        if store is None:
            return {}
        found = query.fleet_now(store, devices=devices)
        return {board.device: board.link for board in found if board.link is not None}

    def _cut_off_s(self, device_id: str, link: LinkState | None) -> float:
        """For how long the collector had no way to a board, in this machine's own seconds of being awake."""
        now_s = self._clock.now_s()
        if link is None or link.is_open:
            self._cut_off_since.pop(device_id, None)
            return 0.0
        return now_s - self._cut_off_since.setdefault(device_id, now_s)

    def _silent_since(self, device_id: str, silent_s: float | None) -> float | None:
        """What of a board's silence came after it was asked: one that was silent before blames no release."""
        before_s = self._silent_before.get(device_id, 0.0)
        if silent_s is None or silent_s < before_s:  # it spoke meanwhile
            self._silent_before.pop(device_id, None)
            return silent_s
        return silent_s - before_s

    def _peers(self, rollout: Rollout) -> list[tuple[str, str]]:
        """Id and profile of boards that this rollout has not begun with: of later waves, or in none."""
        waiting = [
            (member.device_id, member.profile)
            for member in _later(rollout)
            if rollout.members[member.device].state is MemberState.WAITING
        ]
        members = {member.device_id for member in rollout.plan.members}
        others = [
            (device.device_id, device.profile)
            for device in Inventory(self._fleet).list()
            if device.enrolled and device.profile and device.device_id not in members
        ]
        count: Counter[str] = Counter()
        chosen = []
        for device_id, profile in waiting + others:
            count[profile] += 1
            if count[profile] <= MOST_PEERS:
                chosen.append((device_id, profile))
        return chosen

    def _opened(self) -> Store | None:
        if self._store is not None and not self._store.is_in_place:
            self.close()
            self._before.clear()
        if self._store is None:
            with contextlib.suppress(StoreMissing):  # nothing came yet
                self._store = Store.open(self._fleet.store)
        return self._store


def _later(rollout: Rollout) -> tuple[Member, ...]:
    return tuple(member for wave in rollout.plan.waves[rollout.wave + 1 :] for member in wave.members)


def _end(member: MemberNow) -> UpdateEnd:
    if member.unreached:
        return UpdateEnd.UNREACHABLE if member.asked is None else UpdateEnd.VANISHED
    return ENDS.get(member.state, UpdateEnd.PENDING)
