"""The background process that shows a fleet folder's simulated boards: `python -m edge.sim.server FLEET`.

The rule: it survives the command that started it, does what the control socket says, and ends with `down` or when
its folder is gone; what runs on the boards ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import asyncssh

from edge import durable
from edge.config import FleetFolder
from edge.ports import free_port, port_is_free
from edge.sim import disk, processes
from edge.sim.login import serve
from edge.sim.plan import Plan, plans
from edge.sim.relay import Relay
from edge.sim.traffic import Traffic

REBOOT_S = 1.0
SLOW_BYTES_S = 50_000.0
LOOK_S = 2.0


class SimulatedBoard:
    """One board that is shown: its SSH server, its cable, its power, and the clients of its agent."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.traffic = Traffic(plan)
        self._ssh: asyncssh.SSHAcceptor | None = None
        self._relay: Relay | None = None

    async def power_on(self) -> None:
        """Boot: log in is possible, and what is enabled is started."""
        if self._ssh is not None:
            return
        if not port_is_free(self.plan.port):
            self.plan = replace(self.plan, port=free_port())
            self.plan.save()
        self._ssh = await serve(self.plan)
        self._relay = Relay(self.plan.port, self._ssh.get_port())
        processes.boot(self.plan)
        await self._relay.plug()

    async def power_cut(self) -> None:
        """Nothing answers, and every process is gone."""
        if self._relay is not None:
            self._relay.unplug()
        if self._ssh is not None:
            self._ssh.close()
        self._relay = self._ssh = None
        await asyncio.to_thread(processes.kill_all, self.plan)

    async def reboot(self) -> None:
        """A power cut and power again."""
        await self.power_cut()
        await asyncio.sleep(REBOOT_S)
        await self.power_on()

    async def cut(self) -> None:
        """Reset the connections that are open."""
        if self._relay is not None:
            self._relay.cut()

    async def unplug(self) -> None:
        """Reset the connections, and refuse new ones."""
        if self._relay is not None:
            self._relay.unplug()

    async def slow(self) -> None:
        """Let little through."""
        if self._relay is not None:
            self._relay.rate = SLOW_BYTES_S

    async def kill_agent(self) -> None:
        """End the serving agent."""
        processes.kill_agent(self.plan)

    async def disk_full(self) -> None:
        """No room for uploads."""
        disk.fill(self.plan)

    async def mend(self) -> None:
        """Power, cable and disk as they should be."""
        disk.free(self.plan)
        await self.power_on()
        if self._relay is not None:
            self._relay.rate = None
            await self._relay.plug()

    async def gone(self) -> None:
        """Off, and nothing mounted."""
        self.traffic.stop()
        await self.power_cut()
        disk.free(self.plan)


FAULTS: dict[str, Callable[[SimulatedBoard], Any]] = {
    "cut": SimulatedBoard.cut,
    "unplug": SimulatedBoard.unplug,
    "slow": SimulatedBoard.slow,
    "disk-full": SimulatedBoard.disk_full,
    "kill-agent": SimulatedBoard.kill_agent,
    "reboot": SimulatedBoard.reboot,
    "power-cut": SimulatedBoard.power_cut,
    "mend": SimulatedBoard.mend,
}


class Server:
    """All boards of a fleet folder."""

    def __init__(self, fleet: FleetFolder) -> None:
        self._fleet = fleet
        self._boards: dict[str, SimulatedBoard] = {}
        self._end = asyncio.Event()
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Show the boards until told to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end.set)
        folder = Path(tempfile.mkdtemp(prefix="edge-sim-"))  # a socket's path must be short
        control = await asyncio.start_unix_server(self._controlled, folder / "control")
        record = self._fleet.sims / "server.json"
        try:
            async with self._busy:
                await self._show()
            plain = {"pid": os.getpid(), "control": str(folder / "control")}
            durable.write(record, json.dumps(plain).encode() + b"\n", mode=0o600)
            await self._until_end()
        finally:
            control.close()
            for board in self._boards.values():
                await board.gone()
            record.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)

    async def _until_end(self) -> None:
        while not self._end.is_set() and self._fleet.sims.is_dir():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), LOOK_S)

    async def _show(self) -> None:
        for plan in plans(self._fleet):
            if plan.name not in self._boards:
                self._boards[plan.name] = SimulatedBoard(plan)
                await self._boards[plan.name].power_on()
            self._boards[plan.name].traffic.follow(plan)

    async def _controlled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request on the control socket: a line of JSON in, a line out."""
        try:
            asked = json.loads(await reader.readline())
            answer = await self._do(asked)
        except (ValueError, KeyError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(OSError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _do(self, asked: dict[str, Any]) -> dict[str, Any]:
        async with self._busy:
            if asked["do"] == "show":
                await self._show()
            elif asked["do"] == "down":
                self._end.set()
            elif asked["do"] == "break":
                await FAULTS[asked["fault"]](self._boards[asked["name"]])
        return {
            "boards": sorted(self._boards),
            "traffic": {name: asdict(board.traffic.count) for name, board in self._boards.items()},
        }


def main(arguments: list[str]) -> int:
    """Run the server of the fleet folder named by the only argument."""
    fleet = FleetFolder.open(Path(arguments[0]))
    asyncssh.set_log_level("ERROR")
    asyncio.run(Server(fleet).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
