"""The environment of a framework: made, listed, removed.

The rule: it is there whole or not at all. It is made under another name and gets its own with its last step; what
was interrupted is taken away at once, or by the next process where this one was killed. One process at a time makes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import FrameworkFailed
from converters.frameworks.pins import Framework
from converters.frameworks.python import python_for

PREFIX = ".part-"
FACTS = "environment.json"
TELLING = ("Collecting ", "Downloading ", "Using cached ", "Installing ", "Building ")
"""How the lines of pip begin that a person waits behind."""
VERSIONS = (
    "import importlib.metadata, json, sys; from importlib import import_module\n"
    "for name in sys.argv[1:]: import_module(name)\n"
    "print(json.dumps({d.name: d.version for d in importlib.metadata.distributions()}, sort_keys=True))"
)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment that is there.

    Attributes:
        framework: what it is for.
        folder: where it is.
        size_bytes: what it takes on the drive.
        versions: of the packages in it, by name.
    """

    framework: Framework
    folder: Path
    size_bytes: int
    versions: dict[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return _python(self.folder)


def made(framework: Framework, root: Path) -> Environment | None:
    """The environment of a framework below `root`, or None where it is not made, or its Python is gone."""
    folder = root / framework.folder_name
    try:
        facts = json.loads((folder / FACTS).read_bytes())
    except (OSError, ValueError):
        return None
    if not _python(folder).exists():
        return None
    return Environment(
        framework=framework, folder=folder, size_bytes=facts["size_bytes"], versions=facts["versions"]
    )


def make(
    framework: Framework,
    root: Path,
    *,
    log: Path,
    python: Path | None = None,
    options: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Environment:
    """Make the environment of a framework, unless it is there.

    Args:
        framework: what is wanted.
        root: folder of all environments.
        log: gets the whole output.
        python: the Python to use; found by itself where it is None.
        options: further ones for pip, like where else it may look.
        say: told of each step, one line.

    Raises:
        OptionInvalid: `python` is none that fits.
        FrameworkFailed: there is no Python for it, pip does not manage it, or it does not work.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        if found := made(framework, root):
            return found
        chosen = python_for(framework, python)
        temporary, folder = Path(tempfile.mkdtemp(dir=root, prefix=PREFIX)), root / framework.folder_name
        try:
            run = _Run(framework, log, say)
            run(f"environment with {chosen}", [str(chosen), "-I", "-m", "venv", str(temporary)])
            install = ["-m", "pip", "install", "--no-input", "--progress-bar", "off", *options]
            run("packages", [str(_python(temporary)), "-I", *install, *framework.packages])
            said = run("import", [str(_python(temporary)), "-I", "-c", VERSIONS, *framework.modules])
            facts = {"versions": json.loads(said[-1]), "size_bytes": _size(temporary)}
            (temporary / FACTS).write_text(json.dumps(facts, indent=1))
            temporary.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)  # one whose Python is gone
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    environment = made(framework, root)
    assert environment is not None, "it was just made"
    return environment


def remove(framework: Framework, root: Path) -> int:
    """Take away every environment of a framework, those of older pins too.

    Returns:
        How many there were.
    """
    if not root.is_dir():
        return 0
    with _alone(root):
        folders = [path for path in root.iterdir() if path.name.rpartition("-")[0] == framework.name]
        for folder in folders:
            gone = folder.rename(root / f"{PREFIX}{folder.name}")  # never half there under its own name
            shutil.rmtree(gone)
    return len(folders)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the folder against other processes; what a killed one left goes away."""
    with (root / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in root.glob(f"{PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@dataclass(frozen=True)
class _Run:
    """Runs the steps of making an environment; a failed one is FrameworkFailed with its last words."""

    framework: Framework
    log: Path
    say: Callable[[str], None]

    def __call__(self, step: str, command: Sequence[str]) -> list[str]:
        """Run one to its end and return its lines; whatever it started ends with it."""
        self.say(step)
        lines: list[str] = []
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            with self.log.open("a") as log:
                for line in process.stdout:
                    log.write(line)
                    lines.append(line.strip())
                    if lines[-1].startswith(TELLING):
                        self.say(lines[-1][:100])
            process.wait()
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode:
            wrong = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["nothing was said"]
            raise FrameworkFailed(
                framework=self.framework.name,
                reason=f"{step}: {wrong[-1].removeprefix('ERROR: ')[:300]}",
                way_out=f"the whole output is in `{self.log}`",
            )
        return lines


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
