"""A board to which a laptop has brought a runtime, and the real installer, run out of the agent's layer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import decode, encode
from agent.contract.install import Enrolment, InstallRequest
from agent.contract.runtime import RuntimeManifest
from tests.update.bundles import PROFILE
from tests.update.world import DEVICE, Fleet


class Bare:
    """A folder to which the laptop has brought the runtime."""

    def __init__(self, path: Path, fleet: Fleet) -> None:
        self.root = path / "edge"
        self.fleet = fleet
        self.serial = path / "serial"
        self.serial.write_text("simulated-1")
        self.more_environment: dict[str, str] = {}
        self.bring()

    def bring(self) -> None:
        shutil.copytree(self.fleet.blobs.folder / "blobs", self.root / "inbox/blobs", dirs_exist_ok=True)

    def request(self, **changes: object) -> InstallRequest:
        config = BoardConfig(
            fleet=self.fleet.folder.config.fleet, device=DEVICE, serial="simulated-1", profile=PROFILE,
            service=SERVICE_SUPERVISOR, port=0,
        )  # fmt: skip
        request = InstallRequest(
            config=config, runtime=decode(RuntimeManifest, self.fleet.runtime_bytes),
            runtime_digest=self.fleet.runtime, user="root",
            root_metadata=(self.fleet.folder.repository / "metadata/1.root.json").read_text(),
        )  # fmt: skip
        return replace(request, **changes)  # type: ignore[arg-type]

    def run(self, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        simulated = {"EDGE_SIM": "1", "EDGE_SIM_SERIAL_FILE": str(self.serial)}
        environment = {**os.environ, **simulated, **self.more_environment}
        return subprocess.run(
            [sys.executable, "-I", *command], input=given, capture_output=True, env=environment, timeout=120
        )

    def install(self, request: InstallRequest) -> subprocess.CompletedProcess[bytes]:
        layer = self.root.parent / "edge-agent.zip"
        shutil.copyfile(self.fleet.blobs.folder / "blobs" / self.fleet.agent.sha256, layer)
        return self.run("-S", str(layer), "install", "--root", str(self.root), given=encode(request))

    def enrol(self, **changes: object) -> Enrolment:
        done = self.install(self.request(**changes))
        assert done.returncode == 0, done.stderr.decode()
        return decode(Enrolment, done.stdout)

    def refused(self, **changes: object) -> str:
        done = self.install(self.request(**changes))
        assert done.returncode not in (0, 2)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.stderr.decode()

    def launch(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self.run(str(self.root / "bin/launch.py"), *arguments)
