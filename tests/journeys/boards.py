"""What a board has afterwards: a simulated board's folder and processes, seen past edge."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.sim.plan import Plan, plans
from edge.config import FleetFolder
from edge.sim import processes
from tests.journeys.laptop import Laptop


@dataclass(frozen=True)
class SimBoard:
    """A simulated board that is in the fleet."""

    laptop: Laptop
    plan: Plan

    @classmethod
    def take(cls, laptop: Laptop, number: int, *, port: int | None = None) -> SimBoard:
        """Have board `sim-NUMBER`, which runs ONNX Runtime, and add it; `port` is a cable's to it."""
        laptop.does("sim", "up", str(number), "--kind", "onnx")
        name = f"sim-{number}"
        plan = next(plan for plan in plans(FleetFolder.open(laptop.folder)) if plan.name == name)
        board = cls(laptop, plan)
        laptop.does("device", "add", f"{plan.user}@127.0.0.1:{port or plan.port}", "--name", name, "-y")
        return board

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def root(self) -> Path:
        return self.plan.home / ".edge"

    def links(self) -> dict[str, int]:
        """`current` and `trial`, where they are there: generation numbers."""
        return {
            name: int((self.root / name).readlink().name)
            for name in ("current", "trial")
            if (self.root / name).is_symlink()
        }

    def agent(self) -> Any:
        """What the serving agent says of itself."""
        return json.loads((self.root / "run" / "agent.json").read_text())

    def processes(self) -> tuple[int, ...]:
        return processes.of_board(self.plan)

    def kill(self, command: str) -> None:
        """End the processes of one of the agent's commands (`supervise`, `run`, `apply`) without a word."""
        killed = False
        for pid in self.processes():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command.encode() in words:
                os.kill(pid, signal.SIGKILL)
                killed = True
        assert killed, f"no `{command}` runs"

    def breaks(self, fault: str) -> None:
        self.laptop.does("sim", "break", self.name, fault)

    def is_consistent(self) -> None:
        """No trial is left over, and nothing half-written is named as current."""
        links = self.links()
        assert "trial" not in links, links
        for number in links.values():
            assert (self.root / "generations" / str(number) / "generation.json").is_file()
