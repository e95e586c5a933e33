"""Layers become a runtime.

The rule: nothing is composed that could not run where it is for. Every shared object of every layer is of the
board's processor, loads with its page size and its C library, and finds the libraries that it is linked with; what
is left over is said before anything is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agent.contract import CONTRACT, OLDEST_CONTRACT
from agent.contract.codec import digest, encode
from agent.contract.errors import DigestMismatch, FileMissing, WheelUnfit
from agent.contract.profile import version_key
from agent.contract.runtime import Platform, RuntimeManifest
from edge.config import cache_dir
from edge.progress import Progress, Silent
from edge.runtimes.agent_layer import pack_agent
from edge.runtimes.fetch import fetch_wheels
from edge.runtimes.layer import Packed, pack_wheel
from edge.runtimes.lockfile import ENGINE_PACKAGES, LockedWheel, read_lock
from edge.runtimes.request import EngineWheel, RuntimeRequest
from edge.runtimes.wheel import WheelName

OLDEST_GLIBC = "2.17"
"""What a runtime is said to need at least: no wheel of today is for less."""
PACKERS = 4
"""Wheels that are packed at once, each in memory as a whole."""
GPU_LIBRARIES = {
    "libonnxruntime_providers_cuda.so": "CUDA",
    "libonnxruntime_providers_tensorrt.so": "TensorRT",
}


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A runtime that is ready to be sent.

    Attributes:
        manifest: what it is.
        manifest_bytes: as they are stored and signed.
        digest: SHA-256 of these bytes: the runtime's name.
        blobs: each layer's zip by its SHA-256.
    """

    manifest: RuntimeManifest
    manifest_bytes: bytes
    digest: str
    blobs: Mapping[str, Path]


def compose(request: RuntimeRequest, cache: Path | None = None, progress: Progress | None = None) -> Composed:
    """Compose a runtime. The same request gives the same digest; a new agent changes its own layer alone.

    Args:
        request: what is wanted.
        cache: `cache_dir()` unless said otherwise.
        progress: who is told.

    Raises:
        PlatformUnsupported: there is no runtime for that Python, processor and engine.
        WheelUnavailable: a package could not be fetched.
        WheelUnfit: a package does not run on the board.
        DigestMismatch: the user's own engine wheel is not the one that was stated.
        FileMissing: it is not there.
    """
    cache, progress = cache or cache_dir(), progress or Silent()
    wheels = read_lock(request.lock)
    engine = next(wheel for wheel in wheels if wheel.name.distribution == ENGINE_PACKAGES[request.engine])
    paths: dict[LockedWheel, Path] = {}
    if request.engine_wheel:
        own = _own_wheel(request, request.engine_wheel)
        wheels = tuple(own if wheel is engine else wheel for wheel in wheels)
        engine, paths = own, {own: request.engine_wheel.path}
    for wheel in wheels:
        _check_name(wheel, request)
    paths |= fetch_wheels([wheel for wheel in wheels if wheel not in paths], request, cache, progress)
    own_engine = engine if request.engine_wheel else None
    with ThreadPoolExecutor(max_workers=PACKERS) as pool:  # compressing needs no interpreter lock
        made = pool.map(
            lambda wheel: pack_wheel(
                wheel, paths[wheel], request.architecture, cache, own=wheel is own_engine
            ),
            wheels,
        )
        packed = dict(zip(wheels, made, strict=True))
    for wheel, layer in packed.items():
        _check_layer(wheel, layer, request, own=wheel is own_engine)
    layers = (pack_agent(cache), *packed.values())
    manifest = RuntimeManifest(
        platform=Platform(
            architecture=request.architecture,
            python=request.python,
            glibc=max([OLDEST_GLIBC, *(layer.glibc for layer in layers)], key=version_key),
        ),
        engine=request.engine,
        engine_version=engine.name.version,
        agent_version=layers[0].layer.version,
        contracts=tuple(range(OLDEST_CONTRACT, CONTRACT + 1)),
        layers=tuple(layer.layer for layer in layers),
        gpu=_gpu(packed[engine]),
    )
    data = encode(manifest)
    return Composed(
        manifest=manifest,
        manifest_bytes=data,
        digest=digest(data),
        blobs={layer.layer.sha256: layer.blob for layer in layers},
    )


def _own_wheel(request: RuntimeRequest, wheel: EngineWheel) -> LockedWheel:
    """The user's own engine wheel as if it were locked."""
    try:
        with wheel.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileMissing(file=wheel.path, what="--engine-wheel") from error
    if found != wheel.sha256:
        raise DigestMismatch(file=wheel.path, expected=wheel.sha256, found=found)
    try:
        name = WheelName.parse(wheel.path.name)
    except ValueError as error:
        raise WheelUnfit(wheel=wheel.path.name, platform=request, reason=str(error)) from error
    package = ENGINE_PACKAGES[request.engine]
    if not name.distribution.startswith(package):
        raise WheelUnfit(
            wheel=name.file, platform=request, reason=f"it holds {name.distribution}, not {package}"
        )
    return LockedWheel(sha256=found, size_bytes=wheel.path.stat().st_size, name=name)


def _check_name(wheel: LockedWheel, request: RuntimeRequest) -> None:
    """That a wheel's name promises what the board needs; said before anything is fetched."""
    glibc = wheel.name.least_glibc(request.architecture)
    if not wheel.name.runs_on_python(request.python):
        reason = f"it is for {'.'.join(wheel.name.pythons)}"
    elif glibc is None:
        reason = f"it is for {'.'.join(wheel.name.platforms)}"
    elif version_key(glibc) > version_key(request.glibc):
        reason = f"it needs glibc {glibc}, the board has {request.glibc}"
    else:
        return
    raise WheelUnfit(wheel=wheel.name.file, platform=request, reason=reason)


def _check_layer(wheel: LockedWheel, packed: Packed, request: RuntimeRequest, *, own: bool) -> None:
    """That what is in it keeps the promise.

    Libraries that a wheel of the user's own wants beside the system's (CUDA, …) are the board's affair.
    """
    page = packed.layer.page_size_bytes
    foreign = [name for name in packed.architectures if name != request.architecture]
    if foreign:
        reason = f"it holds shared objects for {', '.join(foreign)}"
    elif version_key(packed.glibc) > version_key(request.glibc):
        reason = f"its shared objects need glibc {packed.glibc}, the board has {request.glibc}"
    elif 0 < page < request.page_size_bytes:
        reason = (
            f"its shared objects are aligned for pages of {page} bytes at most,"
            f" the board's are {request.page_size_bytes}"
        )
    elif packed.missing and not own:
        reason = f"its shared objects want {', '.join(packed.missing)}, which no board has by itself"
    else:
        return
    raise WheelUnfit(wheel=wheel.name.file, platform=request, reason=reason)


def _gpu(packed: Packed) -> str | None:
    """What an engine can use beside the CPU, by what lies in it."""
    found = [name for library, name in GPU_LIBRARIES.items() if library in packed.objects]
    return " and ".join(found) or None
