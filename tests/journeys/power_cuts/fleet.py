"""The laptop's side of the power cuts: three releases, two runtimes, and one board that is asked for them."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
import zipfile
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from agent.contract.codec import decode, encode
from agent.contract.errors import EdgeError
from agent.contract.messages import Reported, Signed
from agent.contract.release import DesiredState, Generation, GenerationModel, TrialTerms
from edge.config import FleetFolder, cache_dir
from edge.fleet.connection import connect
from edge.fleet.push import push
from edge.fleet.status import wait_for_end
from edge.identity import open_report
from edge.inventory import Device
from edge.repository import new_nonce
from edge.rollouts.workspace import Workspace
from edge.runtimes.agent_layer import DISTRIBUTION, ENTRY, agent_folder, agent_version
from edge.runtimes.layer import pack_files
from tests.beds.board import BedBoard, bed_key
from tests.journeys.bundles import make_bundle
from tests.journeys.laptop import PASSPHRASE, Laptop
from tests.journeys.power_cuts.answers import Question
from tests.journeys.power_cuts.bed import AGENT_PORT, Bed

NAME = "cuts"
MODELS = {"1": "digits_int8.tflite", "2": "digits.tflite", "3": "digits_int8.tflite"}
REFUSED = "3"
WAIT_S = 2400.0


class Fleet:
    """A fleet folder with one board in it."""

    def __init__(self, work: Path, bed: Bed) -> None:
        self._profile = bed.profile
        self.laptop = Laptop(work / "laptop", **{**bed.settings, "port": str(AGENT_PORT)})
        for suffix in ("", ".pub"):
            shutil.copy(f"{bed_key()}{suffix}", self.laptop.folder / "keys" / f"ssh{suffix}")
        bundles = {}
        for version, model in MODELS.items():
            bundles[version] = make_bundle(
                work / f"bundle-{version}", profile=bed.profile, model=model, mark=version,
                disagrees=version == REFUSED,
            )  # fmt: skip
            # The board's speed changes with whatever else this machine does
            self.laptop.does("publish", "digits", str(bundles[version]), "--budget", "p95_ms=5000", "--force")
        self.question = Question.telling_apart(bundles["1"], bundles["2"])
        self.workspace = Workspace(FleetFolder.open(self.laptop.folder), lambda _role: PASSPHRASE)
        self.runtimes: tuple[str, ...] = ()

    @property
    def device(self) -> Device:
        """The board as the inventory has it."""
        return self.workspace.inventory.get(NAME)

    def flash_first(self, board: BedBoard) -> None:
        """Add the board and bring it to `digits@1`; then there is another runtime, too."""
        self.laptop.does("device", "add", f"pi@127.0.0.1:{board.port}", "--name", NAME, "-y", seconds=600)
        print(self.laptop.does("flash", NAME, "digits@1", seconds=2400).err, flush=True)
        self.laptop.does("collect", "stop", seconds=300)  # its tunnel would load the board, too
        last = self.workspace.repository.desired(self.device.device_id)
        assert last is not None
        self.runtimes = (last.generation.runtime, self._with_another_agent(last.generation.runtime))

    def _with_another_agent(self, runtime: str) -> str:
        """The same runtime with an agent of one more file."""
        files = {"__main__.py": ENTRY, "agent/another.py": b'"""Another agent."""\n'}
        folder = agent_folder()
        for path in folder.rglob("*.py"):
            files[f"agent/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
        packed = pack_files(DISTRIBUTION, agent_version(), files, cache_dir())
        manifest = self.workspace.repository.runtime(runtime)
        changed = dataclasses.replace(manifest, layers=(packed.layer, *manifest.layers[1:]))
        return self.workspace.repository.add_runtime(encode(changed), {packed.layer.sha256: packed.blob})

    def generation(self, version: str, runtime: str, number: int) -> Generation:
        """`digits@VERSION` alone."""
        release = self.workspace.repository.release(f"digits@{version}")
        bundle = release.bundles[self._profile]
        model = GenerationModel("digits", release.title, bundle, budgets=release.budgets)
        return Generation(number, runtime, (model,))

    def assign(self, version: str, runtime: str, *, seen: int) -> DesiredState:
        """The next desired state; it lets go of what lies before the present one."""
        device = self.device.device_id
        counter = self.workspace.repository.next_counter(device, seen=seen)
        config = self.workspace.folder.config
        desired = DesiredState(
            fleet=config.fleet, device=device, counter=counter, nonce=new_nonce(), not_before=int(time.time()),
            generation=self.generation(version, runtime, counter), finalise=counter - 1,
            terms=TrialTerms(
                probation_s=config.probation_s, check_timeout_s=config.check_timeout_s,
                start_timeout_s=config.start_timeout_s,
            ),
        )  # fmt: skip
        self.workspace.repository.assign(desired)
        return desired

    def believed(self, envelope: str) -> Reported:
        """A report of the board's, its signature verified; none that is older than one that was seen is believed."""
        device, signed = self.device, decode(Signed, envelope.encode())
        assert device.public_key is not None
        reported = open_report(
            signed, device=device.device_id, public_key=device.public_key, counter_seen=device.counter_seen
        )
        self._saw(signed.counter)
        return reported

    def _saw(self, counter: int) -> None:
        self.workspace.inventory.update(NAME, lambda there: dataclasses.replace(there, counter_seen=counter))

    def push(self, desired: DesiredState, asked: threading.Event) -> Reported:
        """Push and wait for the end. `asked` is set when the first byte is about to go.

        Raises:
            EdgeError: the connection was lost.
        """
        with connect(self.device, fleet=self.workspace.folder) as board:
            push_set = self.workspace.repository.push_set(self.device.device_id)
            asked.set()
            push(board, "/opt/edge", push_set, request=desired.nonce)
            return wait_for_end(
                board, "/opt/edge", self.device, request=desired.nonce, deadline_s=WAIT_S,
                on_change=lambda _, status: self._saw(status.signed.counter if status.signed else 0),
            )  # fmt: skip

    @cached_property
    def trees(self) -> dict[str, str]:
        """Of each layer that may be on the board: the digest of all that it holds, as the board computes it."""
        found = {}
        for runtime in self.runtimes:
            for layer in self.workspace.repository.runtime(runtime).layers:
                blob = self.workspace.folder.repository / "blobs" / layer.sha256
                with zipfile.ZipFile(blob) as archive:
                    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                    lines = [f"{name} {sha256(archive.read(name)).hexdigest()}\n" for name in names]
                found[layer.sha256] = sha256("".join(sorted(lines)).encode()).hexdigest()
        return found


class Push(threading.Thread):
    """A push that somebody may cut. `begun_at` is monotonic."""

    def __init__(self, fleet: Fleet, desired: DesiredState) -> None:
        super().__init__(daemon=True)
        self._fleet, self._desired = fleet, desired
        self._asked = threading.Event()
        self.begun_at = 0.0
        self.ended_at: float | None = None
        self.reported: Reported | None = None
        self.error: EdgeError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.reported = self._fleet.push(self._desired, self._asked)
            self.ended_at = time.monotonic()
        except EdgeError as error:
            self.error = error

    def wait_for_begin(self) -> None:
        """Until the first byte is about to go."""
        assert self._asked.wait(300), f"no connection: {self.error}"
        self.begun_at = time.monotonic()
