"""What a command learns of a device while it is at work on it, and how that is kept.

The rule: what another command saw of the device's counter meanwhile stays; a counter that was seen is never forgotten.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from agent.contract.messages import Reported
from edge.fleet.status import BoardStatus
from edge.inventory import Device
from edge.rollouts.workspace import Workspace


class Memory:
    """A device as one command knows it now.

    Attributes:
        device: with all that was learned.
    """

    def __init__(self, workspace: Workspace, device: Device) -> None:
        self._workspace = workspace
        self.device = device

    def learn(self, **facts: Any) -> None:
        """Change fields of the device; kept by `keep` only."""
        self.device = dataclasses.replace(self.device, **facts)

    def saw(self, status: BoardStatus) -> None:
        """Take in the counter of a report that was believed."""
        if status.signed is not None:
            self.learn(counter_seen=status.signed.counter)

    def believed(self, status: BoardStatus) -> Reported | None:
        """The board's own word, or None where it has said nothing yet.

        Raises:
            ReportForged, ReportReplayed: it is not believed.
        """
        if status.signed is None or not self.device.enrolled:
            return None
        reported = status.report(self.device)
        self.saw(status)
        return reported

    def keep(self) -> None:
        """Write what is known to the inventory."""
        mine = self.device

        def change(there: Device) -> Device:
            same_key = there.public_key == mine.public_key
            seen = max(mine.counter_seen, there.counter_seen) if same_key else mine.counter_seen
            return dataclasses.replace(mine, counter_seen=seen)

        self.device = self._workspace.inventory.update(mine.name, change)
