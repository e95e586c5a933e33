"""How large runtimes are: what a bare board is sent, and what lies on its disk.

`python -m benchmarks.runtimes`, from the repository's folder.
Prints a table in Markdown. Packages come from the cache or from this machine's pip.
"""

from __future__ import annotations

import sys
import time

from agent.contract.errors import PlatformUnsupported
from agent.contract.profile import PYTHONS
from agent.contract.runtime import RuntimeManifest
from edge.config import cache_dir
from edge.progress import Silent
from edge.runtimes import RuntimeRequest, compose
from edge.runtimes.fetch import fetch_wheels
from edge.runtimes.lock import ARCHITECTURES
from edge.runtimes.lockfile import ENGINE_PACKAGES, read_lock

GLIBC = "2.41"


def wheels_bytes(request: RuntimeRequest) -> int:
    """What the wheels are, before anything is left out."""
    wheels = read_lock(request.lock)
    fetch_wheels(wheels, request, cache_dir(), Silent())
    return sum(wheel.size_bytes for wheel in wheels)


def row(request: RuntimeRequest) -> tuple[str, RuntimeManifest]:
    """One line of the table, and the runtime."""
    before = wheels_bytes(request)
    began = time.monotonic()
    runtime = compose(request).manifest
    again = time.monotonic() - began
    unpacked = sum(layer.unpacked_bytes for layer in runtime.layers)
    cells = [
        runtime.platform.architecture, runtime.platform.python, f"{runtime.engine.value} {runtime.engine_version}",
        runtime.platform.glibc, f"{before / 1e6:.1f}", f"{runtime.size_bytes / 1e6:.1f}", f"{unpacked / 1e6:.1f}",
        f"{again:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |", runtime


def main() -> None:
    """The table of runtimes, then the layers of one of them."""
    print("| processor | Python | engine | glibc | wheels MB | sent MB | unpacked MB | composed in s |")
    print("|---|---|---|---|---|---|---|---|")
    shown: RuntimeManifest | None = None
    for architecture in ARCHITECTURES:
        for engine in ENGINE_PACKAGES:
            for python in PYTHONS:
                request = RuntimeRequest(
                    architecture=architecture, python=python, glibc=GLIBC, page_size_bytes=4096, engine=engine
                )
                try:
                    line, runtime = row(request)
                except PlatformUnsupported as error:
                    print(f"left out: {error}", file=sys.stderr)
                    continue
                shown = shown or runtime
                print(line)
    assert shown is not None
    print(f"\n{shown.platform}, {shown.engine.value}, by layer:\n")
    print("| layer | version | sent kB | unpacked kB | largest page kB |")
    print("|---|---|---|---|---|")
    for layer in shown.layers:
        page = str(layer.page_size_bytes // 1024) if layer.page_size_bytes else "any"
        print(
            f"| {layer.name} | {layer.version} | {layer.size_bytes // 1000} | {layer.unpacked_bytes // 1000} | {page} |"
        )


if __name__ == "__main__":
    main()
