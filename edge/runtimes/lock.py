"""Makes the locks anew: `python -m edge.runtimes.lock`.

The rule: every lock is resolved for its target (Python, processor, glibc), never for the machine that resolves it,
and holds what boards run and nothing else. What engines declare for tools that no board uses (protobuf, sympy, …)
is left out; the tests of composed runtimes prove that it is not missed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from agent.contract.manifest import EngineName
from agent.contract.profile import PYTHONS, version_key
from edge.runtimes.lockfile import ENGINE_PACKAGES, LockedWheel, lock_path, write_lock
from edge.runtimes.wheel import WheelName

ARCHITECTURES = ("aarch64", "x86_64")
GLIBC = "2_35"
"""Of the oldest system that locks are resolved for: Ubuntu 22.04, JetPack 6."""

AGENT_REQUIREMENTS = (
    "numpy>=1.26",
    "httptools>=0.6",
    "orjson>=3.10",
    "paho-mqtt>=2.1,<3",
    "tuf>=6.0",
    "securesystemslib[crypto]>=1.2",
    "cryptography>=43",
    "pillow>=11",
)
"""What the agent imports."""
ENGINE_REQUIREMENTS = {
    EngineName.LITERT: ("ai-edge-litert==2.3.0",),
    EngineName.ONNXRUNTIME: ("onnxruntime>=1.23,<1.33",),
    # built against NumPy 1: with NumPy 2 it imports, and fails on every model
    EngineName.TFLITE_RUNTIME: ("tflite-runtime==2.14.0", "numpy<2"),
}
OLDER_REQUIREMENTS = {
    # what vendors' builds for boards are of; made against NumPy 1
    (EngineName.ONNXRUNTIME, "1.18.1"): ("onnxruntime==1.18.1", "numpy<2"),
}
"""Engine versions that a profile may ask for by `engine_version`."""
ENGINE_PYTHONS = {
    (EngineName.TFLITE_RUNTIME, ""): ("3.10", "3.11"),
    (EngineName.ONNXRUNTIME, "1.18.1"): ("3.10", "3.11", "3.12"),
}
"""Where an engine has wheels for some Python versions only."""
KEPT = frozenset(
    [
        "cffi",
        "cryptography",
        "httptools",
        "numpy",
        "orjson",
        "paho-mqtt",
        "pillow",
        "securesystemslib",
        "tuf",
        "typing-extensions",
        "urllib3",
    ]
)
"""What may stand in a lock beside the engine. cryptography imports typing-extensions on Python 3.10."""


def resolve(python: str, architecture: str, engine: EngineName, version: str = "") -> tuple[LockedWheel, ...]:
    """The wheels for one target, by name; asks the package registry that this machine is set up with."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, answer = Path(folder, "wanted.txt"), Path(folder, "pylock.toml")
        of_engine = OLDER_REQUIREMENTS[engine, version] if version else ENGINE_REQUIREMENTS[engine]
        wanted.write_text("\n".join([*AGENT_REQUIREMENTS, *of_engine]) + "\n")
        command = [
            sys.executable, "-m", "uv", "pip", "compile", "--quiet", str(wanted), "--output-file", str(answer),
            "--format", "pylock.toml", "--only-binary", ":all:",
            "--python-version", python, "--python-platform", f"{architecture}-manylinux_{GLIBC}",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        packages = tomllib.loads(answer.read_text())["packages"]
    kept = KEPT | {ENGINE_PACKAGES[engine]}
    if python != "3.10":
        kept -= {"typing-extensions"}
    return tuple(_oldest(package, python, architecture) for package in packages if package["name"] in kept)


def _oldest(package: dict[str, Any], python: str, architecture: str) -> LockedWheel:
    """Of the wheels of one package that fit, the one for the oldest glibc; of those, for the newest Python."""
    fitting: list[tuple[tuple[int, ...], tuple[int, ...], LockedWheel]] = []
    for wheel in package["wheels"]:
        name = WheelName.parse(wheel["url"].rsplit("/", 1)[1])
        glibc = name.least_glibc(architecture)
        if glibc is not None and name.runs_on_python(python):
            locked = LockedWheel(sha256=wheel["hashes"]["sha256"], size_bytes=wheel["size"], name=name)
            newest = max(version_key(tag[2:3] + "." + tag[3:]) for tag in name.pythons)
            fitting.append((version_key(glibc), tuple(-part for part in newest), locked))
    if not fitting:
        raise SystemExit(
            f"no wheel of {package['name']} {package['version']} fits Python {python}, {architecture}"
        )
    return min(fitting, key=lambda choice: choice[:2])[2]


def main() -> None:
    """Every lock there is."""
    for engine, version in [*((engine, "") for engine in ENGINE_PACKAGES), *OLDER_REQUIREMENTS]:
        for python in ENGINE_PYTHONS.get((engine, version), PYTHONS):
            for architecture in ARCHITECTURES:
                path = lock_path(python, architecture, engine, version)
                write_lock(path, resolve(python, architecture, engine, version))
                print(path.name)


if __name__ == "__main__":
    main()
