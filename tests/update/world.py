"""A fleet with a real repository, and boards with a real launcher, update process and supervisor.

The runtime's layers are the agent of this tree, with the small fixture agent for serving, and the update process's
packages of this environment. `put_board` places them once with the real `place`; each board then links to them.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.contract.board import SERVICE_SUPERVISOR, BoardConfig
from agent.contract.codec import decode, digest, encode
from agent.contract.manifest import EngineName
from agent.contract.messages import Reported, Signed
from agent.contract.release import Budgets, DesiredState, Generation, GenerationModel, Release, TrialTerms
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from agent.update.commands import place
from edge.config import FleetFolder
from edge.identity import KeyRing, verify_signed
from edge.repository import Repository, new_nonce
from tests.update.bundles import PROFILE, make_bundle

ROOT = Path(__file__).resolve().parents[2]
FIXTURE_AGENT = ROOT / "tests" / "fakes" / "fixture_agent"
DEVICE = "d-0123456789"
PACKAGES = (
    "tuf",
    "securesystemslib",
    "cryptography",
    "cffi",
    "urllib3",
    "_cffi_backend",
    "typing_extensions",
)
QUICK = TrialTerms(probation_s=0.3, check_timeout_s=60.0, start_timeout_s=20.0, max_attempts=3)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
GLIBC = "2.17"


@dataclass
class Blobs:
    """Layers of runtimes, in a folder like an inbox."""

    folder: Path
    layers: dict[str, Layer] = field(default_factory=dict)

    def add_layer(self, name: str, version: str, files: dict[str, bytes]) -> Layer:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for path, data in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(path), data)
        data = stream.getvalue()
        layer = Layer(name, version, digest(data), len(data), sum(map(len, files.values())))
        self.write(data)
        self.layers[layer.sha256] = layer
        return layer

    def write(self, data: bytes) -> str:
        path = self.folder / "blobs" / digest(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path.name

    def runtime(self, *layers: Layer, agent_version: str = "0.1.0") -> tuple[str, bytes]:
        manifest = RuntimeManifest(
            platform=Platform(platform.machine(), PYTHON, GLIBC), engine=EngineName.LITERT,
            engine_version="2.3.0", agent_version=agent_version, contracts=(1,), layers=layers,
        )  # fmt: skip
        data = encode(manifest)
        return self.write(data), data


def agent_files() -> dict[str, bytes]:
    """The agent of this tree, with the fixture agent's parts in place of the heavy ones."""
    files = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for path in sorted((ROOT / "agent").rglob("*.py"))
        if not {"engines", "serving", "transforms", "__pycache__"} & set(path.parts)
    }
    for name in ("app", "measure"):
        files[f"agent/{name}.py"] = (FIXTURE_AGENT / f"{name}.py").read_bytes()
    # The fixture runtime's file system can be told to fall over at its n-th change
    files["agent/update/files.py"] += (
        b"\n\nfrom agent import falling  # noqa: E402\n\nDISK = falling.disk(Files)\n"
    )
    # Its clock, by which expiry and staleness are judged, can be put off
    for name in ("clock", "commands"):
        code = files[f"agent/update/{name}.py"]
        assert b"\nimport time\n" in code
        files[f"agent/update/{name}.py"] = code.replace(
            b"\nimport time\n", b"\nfrom agent import shifted as time\n"
        )
    for name in ("falling", "shifted"):
        files[f"agent/{name}.py"] = (FIXTURE_AGENT / f"{name}.py").read_bytes()
    return files | {"__main__.py": b"import sys\nfrom agent.__main__ import main\nsys.exit(main())\n"}


def package_files() -> dict[str, bytes]:
    import tuf

    site = Path(tuf.__file__).parents[1]
    found = [
        path for name in PACKAGES for path in sorted(site.glob(f"{name}*")) if ".dist-info" not in path.name
    ]
    files = {}
    for entry in found:
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            if path.is_file() and path.suffix in (".py", ".so") and "requests_fetcher" not in path.name:
                files[str(path.relative_to(site))] = path.read_bytes()
    return files


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A fleet folder, its repository, and the runtime that its boards run."""

    folder: FleetFolder
    keys: KeyRing
    repository: Repository
    runtime: str
    runtime_bytes: bytes
    blobs: Blobs
    agent: Layer
    packages: Layer
    work: Path

    def publish(
        self, behaviour: str, *, budgets: Budgets | None = None, profile: str = PROFILE, model: str = "digits"
    ) -> Release:
        folder = self.work / f"bundle-{time.monotonic_ns()}"
        bundle = make_bundle(folder, behaviour=behaviour, profile=profile, model=model)
        return self.repository.publish(model, [bundle], budgets=budgets, force=True)

    def desired(
        self,
        counter: int,
        *releases: Release,
        terms: TrialTerms = QUICK,
        runtime: str | None = None,
        **changes: Any,
    ) -> DesiredState:
        models = tuple(
            GenerationModel(
                release.name, release.title, next(iter(release.bundles.values())), budgets=release.budgets
            )
            for release in releases
        )
        state = DesiredState(
            fleet=self.folder.config.fleet, device=DEVICE, counter=counter,
            generation=Generation(counter, runtime or self.runtime, models),
            nonce=new_nonce(), not_before=int(time.time()), terms=terms,
        )  # fmt: skip
        return replace(state, **changes)

    def another_agent(self, changed: dict[str, bytes], *, version: str = "0.1.1") -> str:
        """A runtime with a changed agent, in the repository."""
        layer = self.blobs.add_layer("edge-agent", version, agent_files() | changed)
        runtime, data = self.blobs.runtime(layer, self.packages, agent_version=version)
        paths = {item.sha256: self.blobs.folder / "blobs" / item.sha256 for item in (layer, self.packages)}
        return self.repository.add_runtime(data, paths) or runtime


def passphrase(_role: str) -> str:
    return "correct horse"


def make_fleet(path: Path) -> Fleet:
    blobs = Blobs(path / "blobs")
    agent = blobs.add_layer("edge-agent", "0.1.0", agent_files())
    packages = blobs.add_layer("packages", "1.0.0", package_files())
    runtime, data = blobs.runtime(agent, packages)
    folder = FleetFolder.create(path / "fleet", "kitchen")
    keys = KeyRing(folder.keys)
    keys.create(passphrase)
    repository = Repository.create(folder.repository, keys, passphrase)
    paths = {layer.sha256: blobs.folder / "blobs" / layer.sha256 for layer in (agent, packages)}
    repository.add_runtime(data, paths)
    place(path / "placed", runtime, blobs.folder)
    return Fleet(
        folder=folder, keys=keys, repository=repository, runtime=runtime, runtime_bytes=data, blobs=blobs,
        agent=agent, packages=packages, work=path,
    )  # fmt: skip


def copied_fleet(fleet: Fleet, path: Path) -> Fleet:
    """The same fleet in a folder of its own, to publish and assign in."""
    shutil.copytree(fleet.folder.path, path / "fleet")
    folder = FleetFolder.open(path / "fleet")
    repository = Repository(folder.repository, KeyRing(folder.keys), passphrase)
    return replace(fleet, folder=folder, keys=KeyRing(folder.keys), repository=repository, work=path)


class Board:
    """A board's folder, with what enrolment would have written, and its real processes."""

    def __init__(self, root: Path, fleet: Fleet, placed: Path) -> None:
        self.root = root
        self.fleet = fleet
        for name in (
            "bin",
            "generations",
            "run",
            "inbox/metadata",
            "inbox/targets",
            "inbox/blobs",
            "state/tuf",
        ):
            (root / name).mkdir(parents=True)
        shutil.copytree(placed / "objects", root / "objects", copy_function=os.link)
        shutil.copy(ROOT / "agent" / "launch.py", root / "bin" / "launch.py")
        (root / "bootstrap").write_text(fleet.runtime + "\n")
        config = BoardConfig(
            fleet=fleet.folder.config.fleet, device=DEVICE, serial="simulated-1", profile=PROFILE,
            service=SERVICE_SUPERVISOR, port=0,
        )  # fmt: skip
        (root / "board.json").write_bytes(encode(config))
        metadata = fleet.folder.repository / "metadata"
        shutil.copy(metadata / "1.root.json", root / "root.json")
        (root / "serial").write_text("simulated-1")
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.more_environment: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        simulated = {"EDGE_SIM": "1", "EDGE_SIM_SERIAL_FILE": str(self.root / "serial")}
        return {**os.environ, **simulated, **self.more_environment}

    # --- what the host does ----------------------------------------------------------------------------------------

    def push(self, request: str = "") -> None:
        """Put the repository's push set into the inbox, and ask."""
        self.fill_inbox()
        new = self.root / "inbox" / ".request"
        new.write_text(request or new_nonce())
        new.rename(self.root / "inbox" / "request")

    def fill_inbox(self) -> None:
        there = {path.name for path in (self.root / "objects").iterdir()}
        push_set = self.fleet.repository.push_set(DEVICE)
        for folder, files in (
            ("metadata", push_set.metadata),
            ("targets", push_set.targets),
            ("blobs", push_set.blobs),
        ):
            for name, path in files.items():
                if folder == "blobs" and name in there:
                    continue
                destination = self.root / "inbox" / folder / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, destination)

    def assign(self, *arguments: Any, **options: Any) -> DesiredState:
        state = self.fleet.desired(*arguments, **options)
        self.fleet.repository.assign(state)
        return state

    def update(self, counter: int, *releases: Release, **options: Any) -> int:
        """Assign, push, apply. The exit code."""
        self.assign(counter, *releases, **options)
        self.push()
        return self.apply()

    def flash(self, counter: int, *releases: Release, timeout: float = 60.0, **options: Any) -> Reported:
        """Assign, push, and wait for the end that the supervisor's update process comes to."""
        self.assign(counter, *releases, **options)
        return self.push_and_wait(timeout=timeout)

    def push_and_wait(self, *, timeout: float = 60.0) -> Reported:
        request = new_nonce()
        self.push(request)
        return self.wait_for(request, timeout=timeout)

    def wait_for(self, request: str, *, timeout: float = 60.0) -> Reported:
        def ended() -> bool:
            if not (self.root / "state/reported.json").exists():
                return False
            report = self.report
            return report.request == request and not report.in_progress

        wait_until(ended, f"an end of {request}", timeout=timeout)
        return self.report

    # --- the board's own -------------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-I", str(self.root / "bin/launch.py"), *arguments]

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def apply(self) -> int:
        done = self.run("apply")
        self.talk = done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments), env=self.environment, stdin=subprocess.DEVNULL,
            stdout=(self.root / "run/out.log").open("ab"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def supervise(self) -> None:
        self.supervisor = self.start("supervise")
        wait_until(lambda: (self.root / "run/supervisor.json").exists(), "the supervisor is there")

    def stop(self) -> None:
        if self.supervisor is not None:
            self.supervisor.send_signal(signal.SIGTERM)
            self.supervisor.wait(20)
            self.supervisor = None

    # --- what is seen ----------------------------------------------------------------------------------------------

    @property
    def envelope(self) -> Signed:
        return decode(Signed, (self.root / "state/reported.json").read_bytes())

    @property
    def report(self) -> Reported:
        envelope = self.envelope
        public_key = (self.root / "state/device.pub").read_text().strip()
        assert verify_signed(envelope, public_key)
        return decode(Reported, envelope.payload.encode())

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "state/update.json").read_bytes())
        return found

    def link(self, name: str) -> int | None:
        path = self.root / name
        return int(path.readlink().name) if path.is_symlink() else None

    def served(self) -> dict[str, Any]:
        """What the agent answers; an empty answer when it does not."""
        try:
            port = json.loads((self.root / "run/agent.json").read_bytes())["port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/serving", timeout=2) as answer:
                found: dict[str, Any] = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):  # or it ended in the middle of its answer
            return {}
        return found


def copy_of(board: Board, path: Path) -> Board:
    """The same board, cut off, in another folder."""

    def link_objects(source: str, destination: str) -> str:
        link = os.link if "/objects/" in source else shutil.copy2
        link(source, destination)
        return destination

    shutil.copytree(board.root, path, symlinks=True, copy_function=link_objects)
    copied = object.__new__(Board)
    copied.__dict__.update(board.__dict__, root=path, supervisor=None, more_environment={})
    shutil.rmtree(path / "run")
    (path / "run").mkdir()
    return copied


def copy_with_fleet(board: Board, path: Path) -> Board:
    """The same board with a fleet of its own, both in `path`."""
    copied = copy_of(board, path / "board")
    copied.fleet = copied_fleet(board.fleet, path)
    return copied


class Quiet:
    """Nobody runs an agent: for the update process in the test's own process. A trial would fail at once."""

    def reload(self) -> None: ...
    def restart(self) -> None: ...
    def stop(self) -> None: ...


def wait_until(true: Callable[[], object], what: str, *, timeout: float = 30.0) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.02)
