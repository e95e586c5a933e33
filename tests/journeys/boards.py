"""What a board has afterwards: a simulated board's folder and processes, seen past edge."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.config import FleetFolder
from edge.sim import processes
from edge.sim.boards import break_board
from edge.sim.plan import Plan, plans
from tests.journeys.laptop import Laptop


@dataclass(frozen=True)
class SimBoard:
    """A simulated board that is in the fleet."""

    laptop: Laptop
    plan: Plan

    @classmethod
    def take(cls, laptop: Laptop, number: int, *, kind: str = "onnx") -> SimBoard:
        """Have board `sim-NUMBER` and add it to the fleet."""
        laptop.does("sim", "up", str(number), "--kind", kind)
        name = f"sim-{number}"
        plan = next(plan for plan in plans(FleetFolder.open(laptop.folder)) if plan.name == name)
        board = cls(laptop, plan)
        laptop.does("device", "add", f"{plan.user}@127.0.0.1:{plan.port}", "--name", name, "-y")
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

    def runtime(self) -> Any:
        """The manifest of the runtime that `current` names."""
        digest = json.loads((self.root / "current" / "generation.json").read_text())["runtime"]
        return json.loads((self.root / "objects" / digest / "manifest.json").read_text())

    def release(self) -> str:
        """The release that `current` names."""
        generation = json.loads((self.root / "current" / "generation.json").read_text())
        return str(generation["models"][0]["release"])

    def manifest(self) -> Any:
        """The manifest of the bundle that `current` names."""
        generation = json.loads((self.root / "current" / "generation.json").read_text())
        return json.loads(
            (self.root / "objects" / generation["models"][0]["bundle"] / "manifest.json").read_text()
        )

    def processes(self) -> tuple[int, ...]:
        return processes.of_board(self.plan)

    def power_fails_for_processes(self, *commands: str) -> None:
        """End all processes of the agent's commands (`supervise`, `run`, `apply`) without a word to any."""
        found = [pid for pid in self.processes() if set(self._words(pid)) & set(commands)]
        assert found, f"none of {commands} runs"
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _words(pid: int) -> list[str]:
        try:
            return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            return []

    def serves(self) -> bool:
        """Whether the agent answers that it is ready, over HTTP."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.agent()['port']}/v2/health/ready", timeout=5
            ) as reply:
                return bool(reply.status == 200)
        except (OSError, ValueError):
            return False

    def breaks(self, fault: str) -> None:
        """`edge sim break`, without the time that a command takes to start."""
        break_board(FleetFolder.open(self.laptop.folder), self.name, fault)

    def is_consistent(self) -> None:
        """What the links name is whole."""
        for number in self.links().values():
            assert (self.root / "generations" / str(number) / "generation.json").is_file()
