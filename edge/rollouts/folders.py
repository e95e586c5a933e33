"""The rollouts of a fleet folder: `rollouts/<id>/`, one folder each.

The rule: an id is the release and a number that grows, so that what `plan` shows is what `start` begins; and boards
are in one open rollout at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.contract.errors import NoRollout, RolloutOpen, RolloutUnknown
from edge import durable
from edge.config import FleetFolder, lock
from edge.rollouts.fold import Rollout
from edge.rollouts.journal import FILE, Journal, read
from edge.rollouts.plan import Plan
from edge.suggestion import did_you_mean


class RolloutFolders:
    """All rollouts of a fleet folder."""

    def __init__(self, fleet: FleetFolder) -> None:
        self._folder = fleet.rollouts

    def ids(self) -> tuple[str, ...]:
        """Of all rollouts, in no order that means anything."""
        return tuple(sorted(path.parent.name for path in self._folder.glob(f"*/{FILE}")))

    def all(self) -> tuple[Rollout, ...]:
        """All rollouts, the oldest first.

        Raises:
            JournalDamaged: one can't be believed.
        """
        return tuple(sorted((read(self.folder(one))[1] for one in self.ids()), key=lambda one: one.begun))

    def folder(self, rollout: str) -> Path:
        """Of the rollout with this id.

        Raises:
            RolloutUnknown: there is none.
        """
        known = self.ids()
        if rollout not in known:
            raise RolloutUnknown(rollout=rollout, suggestion=did_you_mean(rollout, known))
        return self._folder / rollout

    def chosen(self, rollout: str | None) -> Path:
        """The folder of the rollout that is meant: the named one, else the open one, else the newest.

        Raises:
            RolloutUnknown, NoRollout: there is none.
        """
        if rollout is not None:
            return self.folder(rollout)
        found = self.all()
        if not found:
            raise NoRollout()
        best = max(found, key=lambda one: (one.is_open, one.begun))
        return self.folder(best.plan.rollout)

    def next_id(self, name: str, version: int) -> str:
        """For the next rollout of `name@version`: `digits-4-1`, then `digits-4-2`."""
        head = f"{name}-{version}-"
        numbers = [one.removeprefix(head) for one in self.ids() if one.startswith(head)]
        return f"{head}{1 + max((int(number) for number in numbers if number.isdigit()), default=0)}"

    @contextmanager
    def begin(self, plan: Plan) -> Iterator[Journal]:
        """Write a new rollout's journal, and hold it for as long as the context lasts.

        Raises:
            RolloutOpen: one of its boards is in a rollout that has not ended.
        """
        durable.make_folder(self._folder)
        with lock(self._folder):
            devices = {member.device_id for member in plan.members}
            for other in self.all():
                if other.is_open and devices & {member.device_id for member in other.plan.members}:
                    raise RolloutOpen(rollout=other.plan.rollout, state=other.state.value)
            creating = Journal.create(self._folder / plan.rollout, plan)
            journal = creating.__enter__()
        try:
            yield journal
        finally:
            creating.__exit__(None, None, None)
