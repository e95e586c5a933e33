"""Wheels, from wherever this machine's pip is told to look.

The rule: a wheel is what its lock says by SHA-256, or it is not used. Each is fetched once and lies in the cache
under its digest, where it is verified again at every use: what was damaged there is fetched anew, and with a whole
cache nothing is asked of any network.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.contract.errors import WheelUnavailable
from edge import durable
from edge.progress import Progress
from edge.runtimes.lockfile import LockedWheel
from edge.runtimes.request import RuntimeRequest

ATTEMPTS = 3
PAUSE_S = 2.0


def fetch_wheels(
    wheels: Sequence[LockedWheel], request: RuntimeRequest, cache: Path, progress: Progress
) -> dict[LockedWheel, Path]:
    """Where each wheel lies, verified; those that the cache lacks are fetched.

    Raises:
        WheelUnavailable: one could not be fetched.
    """
    if missing := _missing(wheels, cache):
        with _alone(cache):
            missing = _missing(wheels, cache)  # another process may have fetched them meanwhile
            if missing:
                _fetch(missing, request, cache, progress)
    return {wheel: _place(wheel, cache) for wheel in wheels}


def _place(wheel: LockedWheel, cache: Path) -> Path:
    return cache / "wheels" / wheel.sha256 / wheel.name.file


def _missing(wheels: Sequence[LockedWheel], cache: Path) -> list[LockedWheel]:
    return [wheel for wheel in wheels if _digest(_place(wheel, cache)) != wheel.sha256]


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _fetch(missing: list[LockedWheel], request: RuntimeRequest, cache: Path, progress: Progress) -> None:
    size = sum(wheel.size_bytes for wheel in missing)
    for leftover in (cache / "wheels").glob(f"{durable.PREFIX}*"):  # of a process that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(dir=cache / "wheels", prefix=durable.PREFIX) as folder:
        _download(missing, request, Path(folder), progress)
        for wheel in missing:
            found = Path(folder, wheel.name.file)
            if _digest(found) != wheel.sha256:
                raise WheelUnavailable(
                    requirement=wheel.requirement,
                    platform=request,
                    reason="pip left another file than the locked one",
                )
            place = _place(wheel, cache)
            durable.make_folder(place.parent)
            found.replace(place)
            durable.flush_folder(place.parent)
    progress.step(f"fetched {len(missing)} packages for {request}: {size / 1e6:.1f} MB")


def _download(missing: list[LockedWheel], request: RuntimeRequest, folder: Path, progress: Progress) -> None:
    """Let pip fetch them, with a few more attempts where the network fails it."""
    wanted = folder / "wanted.txt"
    wanted.write_text("".join(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n" for wheel in missing))
    tags = sorted({tag for wheel in missing for tag in wheel.name.platforms} - {"any"})
    python = request.python.replace(".", "")
    command = [
        *_pip(missing, request), "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", request.python, "--abi", f"cp{python}", "--abi", "abi3", "--abi", "none",
        *(argument for tag in tags for argument in ("--platform", tag)),
        "--dest", str(folder), "--requirement", str(wanted),
    ]  # fmt: skip
    for attempt in range(1, ATTEMPTS + 1):
        said = _run(command, missing, progress)
        if said is None:
            return
        if attempt < ATTEMPTS and not re.search(r"DO NOT MATCH THE HASHES|[Nn]o matching distribution", said):
            time.sleep(PAUSE_S * attempt)
            continue
        names = missing[0].requirement + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        blamed = next((wheel.requirement for wheel in missing if wheel.requirement in said), names)
        raise WheelUnavailable(requirement=blamed, platform=request, reason=said)


def _pip(missing: list[LockedWheel], request: RuntimeRequest) -> list[str]:
    """The command that is pip: this interpreter's, or what uv brings."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise WheelUnavailable(
        requirement=missing[0].requirement,
        platform=request,
        reason="neither pip nor uv is installed beside edge",
    )


def _run(command: list[str], missing: list[LockedWheel], progress: Progress) -> str | None:
    """Run pip; None when it went well, else why it did not."""
    total = sum(wheel.size_bytes for wheel in missing)
    done = 0
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line.strip())
            if line.startswith("Collecting "):
                progress.transfer("packages", done, total)
                done += next((w.size_bytes for w in missing if f" {w.requirement} " in line), 0)
    if pip.returncode == 0:
        progress.transfer("packages", total, total)
        return None
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [f"pip ended with exit code {pip.returncode}"])[-1]


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock; whoever held it and died holds it no more."""
    durable.make_folder(cache / "wheels")
    with (cache / "wheels" / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
