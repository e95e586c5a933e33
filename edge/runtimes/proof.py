"""A proof environment: an engine as a board runs it, on this machine.

The rule: a proof runs what a board runs: the same layers from the same locks, unpacked by the agent's own `place`
and entered by the same `launch.py`, as a process of its own. It differs in the processor alone. All proof
environments share one folder in the cache, as the runtimes of a board do.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import WheelUnfit
from agent.contract.manifest import EngineName
from agent.contract.runtime import RuntimeManifest
from edge import durable
from edge.config import cache_dir
from edge.last_words import last_words
from edge.progress import Progress, Silent
from edge.runtimes.agent_layer import agent_folder
from edge.runtimes.compose import Composed, compose
from edge.runtimes.request import RuntimeRequest


@dataclass(frozen=True, kw_only=True)
class ProofEnvironment:
    """A runtime that was unpacked here and can be run.

    Attributes:
        runtime: what it is.
        digest: its name.
        root: a folder like a board's, with `bin/` and `objects/` alone.
    """

    runtime: RuntimeManifest
    digest: str
    root: Path

    def run(self, args: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run a command of the agent in it, like `["measure", "--bundle", …]`.

        Args:
            args: without the program's name.
            timeout_s: after that it is killed with all its children, in seconds.

        Returns:
            Exit code and what was printed; a negative exit code is the signal that ended it, and after the time was
            up the last line of `stderr` says so.
        """
        command = [
            sys.executable, "-I", str(self.root / "bin" / "launch.py"), "--root", str(self.root),
            "--runtime", self.digest, *args,
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, talk = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            output, talk = process.communicate()
            talk += f"it did not finish within {timeout_s:g} s\n"
        except BaseException:
            _end(process)
            process.communicate()
            raise
        return subprocess.CompletedProcess(command, process.returncode, output, talk)


def proof_environment(
    engine: EngineName,
    cache: Path | None = None,
    progress: Progress | None = None,
    *,
    version: str = "",
) -> ProofEnvironment:
    """The proof environment of an engine for this machine and this Python; made where it is not there yet.

    Args:
        engine: which one.
        cache: `cache_dir()` unless said otherwise.
        progress: who is told.
        version: of the engine, where it is not the one that boards get by themselves.

    Raises:
        PlatformUnsupported: not on this machine, not for this Python, or not in this version.
        WheelUnavailable, WheelUnfit: as in `compose`.
    """
    cache, progress = cache or cache_dir(), progress or Silent()
    composed = compose(RuntimeRequest.for_this_machine(engine, version), cache, progress)
    root = cache / "proof"
    _place(composed, root, progress)
    return ProofEnvironment(runtime=composed.manifest, digest=composed.digest, root=root)


def _place(composed: Composed, root: Path, progress: Progress) -> None:
    """Unpack a runtime by the agent's own `place`, one process at a time; what is whole there is left as it is."""
    objects = root / "objects"
    launcher = (agent_folder() / "launch.py").read_bytes()
    durable.make_folder(root / "bin")
    with (root / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = root / "bin" / "launch.py"
        if not target.exists() or target.read_bytes() != launcher:
            durable.write(target, launcher)
        if all((objects / name).is_dir() for name in (composed.digest, *composed.blobs)):
            return
        for leftover in root.glob(f"{durable.PREFIX}*"):  # of a process that was killed
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=root, prefix=durable.PREFIX) as inbox:
            _fill(Path(inbox) / "blobs", composed)
            agent = composed.blobs[composed.manifest.layers[0].sha256]
            arguments = ["place", "--root", str(root), "--runtime", composed.digest, "--inbox", inbox]
            placed = subprocess.run(
                [sys.executable, "-I", str(agent), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
    if placed.returncode != 0:
        raise WheelUnfit(
            wheel=f"the runtime {composed.digest[:12]}",
            platform="this machine",
            reason=last_words(placed.stderr, placed.returncode),
        )
    progress.step(f"proof environment: {composed.manifest.engine.value} {composed.manifest.engine_version}")


def _fill(blobs: Path, composed: Composed) -> None:
    """Lay a runtime's blobs where `place` looks for them, without copying where that can be: `place` takes nothing
    that belongs to somebody else."""
    blobs.mkdir()
    (blobs / composed.digest).write_bytes(composed.manifest_bytes)
    for sha256, path in composed.blobs.items():
        try:
            if path.stat().st_uid != os.geteuid():
                raise PermissionError
            os.link(path, blobs / sha256)
        except OSError:
            shutil.copyfile(path, blobs / sha256)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
