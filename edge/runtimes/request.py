"""What a runtime is asked for: the platform, its limits, the engine.

The rule: everything that decides what is in a runtime or whether it may be used stands in the request; nothing is
read from the machine that composes it.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import PlatformUnsupported
from agent.contract.manifest import EngineName
from agent.contract.profile import PYTHONS
from agent.contract.runtime import Platform
from edge.runtimes.lockfile import lock_path


@dataclass(frozen=True, kw_only=True)
class EngineWheel:
    """An engine's wheel of the user's own, like a GPU build for a Jetson.

    Attributes:
        path: the file.
        sha256: of its bytes, as the user stated it.
    """

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RuntimeRequest:
    """A runtime to be composed.

    Attributes:
        architecture: `aarch64` or `x86_64`.
        python: of the board, `3.11`.
        glibc: of the board, `2.36`.
        page_size_bytes: of the board's kernel.
        engine: which one.
        engine_wheel: takes the place of the locked engine.
        engine_version: where it is not the one that boards get by themselves, or empty.
    """

    architecture: str
    python: str
    glibc: str
    page_size_bytes: int
    engine: EngineName
    engine_wheel: EngineWheel | None = None
    engine_version: str = ""

    @classmethod
    def for_this_machine(cls, engine: EngineName, version: str = "") -> RuntimeRequest:
        """What this machine needs to run an engine, of a version other than the usual where one is named, as a board
        would.

        Raises:
            PlatformUnsupported: it is not Linux with glibc.
        """
        library, glibc = platform.libc_ver()
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        if sys.platform != "linux" or library != "glibc":
            raise PlatformUnsupported(
                platform=f"this machine ({platform.system()}, {platform.machine()}, Python {python})",
                reason="boards' runtimes are made for Linux with glibc",
                way_out="go on without a proof run here: the board's own trial is then the first one",
            )
        return cls(
            architecture=platform.machine(),
            python=python,
            glibc=glibc,
            page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
            engine=engine,
            engine_version=version,
        )

    @property
    def lock(self) -> Path:
        """The lock that it is composed from.

        Raises:
            PlatformUnsupported: there is none for this Python, processor and engine.
        """
        path = lock_path(self.python, self.architecture, self.engine, self.engine_version)
        if self.engine_wheel and not path.is_file():  # its engine is not taken from the lock anyway
            path = lock_path(self.python, self.architecture, self.engine)
        if path.is_file():
            return path
        reason, way_out = self._why_no_lock()
        raise PlatformUnsupported(platform=self, reason=reason, way_out=way_out)

    def _why_no_lock(self) -> tuple[str, str]:
        if self.architecture not in ("aarch64", "x86_64"):
            return (
                "numpy, ONNX Runtime and LiteRT have no packages for this processor",
                "use a 64-bit system; every Raspberry Pi since the 3 runs one",
            )
        if self.python not in PYTHONS:
            return (
                f"the agent runs on Python {PYTHONS[0]} to {PYTHONS[-1]}",
                "use a system image that carries one of them",
            )
        if self.engine_version:
            return (
                f"edge has no list of packages with {self.engine.value} {self.engine_version} for Python {self.python}",
                "leave `engine_version` out of the profile, or give the engine's package with --engine-wheel",
            )
        return (
            f"there is no package of {self.engine.value} for Python {self.python}",
            "choose a profile whose engine is litert, which runs the same files",
        )

    def __str__(self) -> str:
        platform_text = Platform(architecture=self.architecture, python=self.python, glibc=self.glibc)
        return (
            f"{platform_text}, {self.engine.value}{f' {self.engine_version}' if self.engine_version else ''}"
        )
