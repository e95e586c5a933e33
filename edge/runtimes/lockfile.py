"""Locks: which wheels a runtime is made of, for each Python, processor and engine.

The rule: a lock names each wheel by the SHA-256 of its bytes, and of the wheels that would do the one for the oldest
glibc, so that one runtime serves every board of that Python and processor. It names no place: wheels come from
wherever this machine's pip is told to look, and their bytes decide. `python -m edge.runtimes.lock` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.contract.manifest import EngineName
from agent.contract.names import check_digest
from agent.contract.profile import DeviceProfile
from edge.runtimes.wheel import WheelName

LOCKS = Path(__file__).parent / "locks"

ENGINE_PACKAGES = {
    EngineName.LITERT: "ai-edge-litert",
    EngineName.ONNXRUNTIME: "onnxruntime",
    EngineName.TFLITE_RUNTIME: "tflite-runtime",
}
"""The distribution that holds an engine."""


@dataclass(frozen=True, kw_only=True)
class LockedWheel:
    """One wheel of a lock.

    Attributes:
        sha256, size_bytes: of the file.
        name: what its file name says.
    """

    sha256: str
    size_bytes: int
    name: WheelName

    @property
    def requirement(self) -> str:
        """`numpy==2.4.6`."""
        return f"{self.name.distribution}=={self.name.version}"


def lock_path(python: str, architecture: str, engine: EngineName, version: str = "") -> Path:
    """Where the lock of a platform and engine lies, whether there is one or not.

    `version`: of the engine, where it is not the one that boards get by themselves.
    """
    name = f"cp{python.replace('.', '')}-{architecture}-{engine.value}"
    return LOCKS / f"{name}{f'-{version}' if version else ''}.txt"


def read_lock(path: Path) -> tuple[LockedWheel, ...]:
    """The wheels of a lock, in its order. `FileNotFoundError` when there is none for that platform and engine."""
    wheels = []
    for line in path.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            sha256, size, file = line.split()
            check_digest(sha256, what="digest in a lock")
            wheels.append(LockedWheel(sha256=sha256, size_bytes=int(size), name=WheelName.parse(file)))
    return tuple(wheels)


def engine_versions(profile: DeviceProfile, engine: EngineName) -> tuple[str, ...]:
    """The versions of an engine that boards of a profile run: the one that it states, or one for each of its Pythons
    that has the engine."""
    if version := profile.version_of(engine):
        return (version,)
    paths = [lock_path(python, profile.architecture, engine) for python in profile.pythons]
    package = ENGINE_PACKAGES[engine]
    found = [wheel.name for path in paths if path.is_file() for wheel in read_lock(path)]
    return tuple(dict.fromkeys(name.version for name in found if name.distribution == package))


def write_lock(path: Path, wheels: tuple[LockedWheel, ...]) -> None:
    """Write a lock. Law: `read_lock(path)` is `wheels` afterwards."""
    lines = ["# Made by `python -m edge.runtimes.lock`: SHA-256, bytes, wheel."]
    lines += [f"{wheel.sha256} {wheel.size_bytes:>9} {wheel.name.file}" for wheel in wheels]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
