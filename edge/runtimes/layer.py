"""A wheel becomes a layer: trimmed, read, and packed anew as a deterministic zip.

The rule: the same wheel gives the same bytes, whenever and wherever on this machine: entries sorted, times and
modes fixed. What its shared objects need is read while it is packed, and is kept beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import DocumentInvalid, WheelUnfit
from agent.contract.profile import version_key
from agent.contract.runtime import Layer
from edge import durable
from edge.runtimes import elf, trim
from edge.runtimes.lockfile import LockedWheel

_EPOCH = (1980, 1, 1, 0, 0, 0)
_COMPRESSION = 6
MAX_UNPACKED_BYTES = 2 * 1024**3

SYSTEM_LIBRARIES = (
    "ld-linux",
    "libc.",
    "libdl.",
    "libgcc_s.",
    "libm.",
    "libpthread.",
    "librt.",
    "libstdc++.",
    "libutil.",
)
"""Beginnings of what every board's glibc and C++ library bring."""
PYTHON_LIBRARIES = ("libz.", "libpython")
"""And of what its Python does."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A layer and what is known of it beside what the manifest says.

    Attributes:
        layer: as it stands in a runtime's manifest.
        blob: the zip.
        glibc: least version of the C library, by what its wheel promised and what its objects want; or empty.
        architectures: of its shared objects.
        objects: file names of its shared objects.
        missing: libraries that they want and that neither the layer nor a board's system brings.
    """

    layer: Layer
    blob: Path
    glibc: str
    architectures: tuple[str, ...]
    objects: tuple[str, ...]
    missing: tuple[str, ...]


def pack_wheel(
    wheel: LockedWheel, path: Path, architecture: str, cache: Path, *, own: bool = False
) -> Packed:
    """The layer of a wheel whose bytes were verified, from the cache where it is whole there.

    Args:
        wheel: what it is.
        path: where it lies.
        architecture: that it is wanted for; its name must allow it.
        cache: the folder `cache_dir()`.
        own: it is a wheel of the user's own; `CUTS` are not for it.

    Raises:
        WheelUnfit: it is no zip, or holds what no wheel may.
    """
    promised = wheel.name.least_glibc(architecture) or ""
    note = cache / "layers" / f"{_key(wheel, architecture, own)}.json"
    if packed := _from_cache(note, cache):
        return packed
    try:
        with zipfile.ZipFile(path) as archive:
            files = dict(_entries(archive, None if own else wheel.name.distribution))
    except (zipfile.BadZipFile, ValueError) as error:
        raise WheelUnfit(wheel=wheel.name.file, platform=architecture, reason=str(error)) from error
    packed = pack_files(wheel.name.distribution, wheel.name.version, files, cache, promised=promised)
    _to_cache(note, packed)
    return packed


def pack_files(
    name: str, version: str, files: Mapping[str, bytes], cache: Path, *, promised: str = ""
) -> Packed:
    """The layer that holds these files, by their paths.

    Raises:
        WheelUnfit: a shared object can't be read.
    """
    objects = {path: _read(path, data, name) for path, data in files.items() if data.startswith(elf.MAGIC)}
    data = _zip(files)
    sha256 = hashlib.sha256(data).hexdigest()
    blob = _blob(cache, sha256)
    if not _is_whole(blob, sha256):
        durable.make_folder(blob.parent)
        durable.write(blob, data)
    layer = Layer(
        name=name,
        version=version,
        sha256=sha256,
        size_bytes=len(data),
        unpacked_bytes=sum(len(content) for content in files.values()),
        page_size_bytes=min((found.page_size_bytes for found in objects.values()), default=0),
    )
    return Packed(
        layer=layer,
        blob=blob,
        glibc=max([promised, *(found.glibc for found in objects.values())], key=version_key),
        architectures=tuple(sorted({found.architecture for found in objects.values()})),
        objects=tuple(sorted(path.rsplit("/", 1)[-1] for path in objects)),
        missing=_missing(objects),
    )


def _entries(archive: zipfile.ZipFile, distribution: str | None) -> Iterable[tuple[str, bytes]]:
    if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        if entry.filename.startswith("/") or ".." in entry.filename.split("/") or "\\" in entry.filename:
            raise ValueError(f"it holds the entry `{entry.filename}`, which leads out of its folder")
        if (path := trim.installed_path(entry.filename, distribution)) is not None:
            yield path, archive.read(entry)


def _read(path: str, data: bytes, name: str) -> elf.SharedObject:
    try:
        return elf.read_shared_object(data)
    except ValueError as error:
        raise WheelUnfit(wheel=name, platform="any platform", reason=f"`{path}`: {error}") from error


def _missing(objects: Mapping[str, elf.SharedObject]) -> tuple[str, ...]:
    own = {path.rsplit("/", 1)[-1] for path in objects}
    wanted = {library for found in objects.values() for library in found.needed} - own
    return tuple(sorted(name for name in wanted if not name.startswith(SYSTEM_LIBRARIES + PYTHON_LIBRARIES)))


def _zip(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[path], compresslevel=_COMPRESSION)
    return packed.getvalue()


def _key(wheel: LockedWheel, architecture: str, own: bool) -> str:
    """Changes with the wheel and with the code that packs it."""
    found = hashlib.sha256(f"{wheel.sha256} {wheel.name.file} {architecture} {own}".encode())
    for module in (__file__, elf.__file__, trim.__file__):
        found.update(Path(module).read_bytes())
    return found.hexdigest()


def _blob(cache: Path, sha256: str) -> Path:
    return cache / "blobs" / sha256


def _is_whole(blob: Path, sha256: str) -> bool:
    try:
        with blob.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _to_cache(note: Path, packed: Packed) -> None:
    durable.make_folder(note.parent)
    kept = {
        "layer": {key: value for key, value in vars(packed.layer).items() if key != "extra"},
        "glibc": packed.glibc,
        "architectures": packed.architectures,
        "objects": packed.objects,
        "missing": packed.missing,
    }
    durable.write(note, json.dumps(kept, sort_keys=True).encode())


def _from_cache(note: Path, cache: Path) -> Packed | None:
    """What was packed before; None when there is nothing, or when it is no longer what it was."""
    try:
        kept = json.loads(note.read_bytes())
        layer = Layer(**kept.pop("layer"))
        packed = Packed(
            layer=layer,
            blob=_blob(cache, layer.sha256),
            glibc=str(kept["glibc"]),
            architectures=tuple(kept["architectures"]),
            objects=tuple(kept["objects"]),
            missing=tuple(kept["missing"]),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, DocumentInvalid):
        return None
    if not _is_whole(packed.blob, layer.sha256):
        return None
    return packed
