"""What a shared object needs of the machine that loads it, read from its own headers.

The rule: a wheel's name is a promise, the dynamic loader reads these bytes. Only what decides whether it loads is
read: the processor, how its segments are aligned (a kernel with larger pages can't map them), the newest version of
the C library whose symbols it wants, and the libraries that it names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.contract.profile import version_key

MAGIC = b"\x7fELF"
_MACHINES = {183: "aarch64", 62: "x86_64"}
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _VERNEED, _VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF
_GLIBC_MARKS = {"GLIBC_ABI_DT_RELR": "2.36"}
"""What a loader must understand, and since when it does."""


@dataclass(frozen=True, kw_only=True)
class SharedObject:
    """What one ELF file needs.

    Attributes:
        architecture: `aarch64`, `x86_64`, or the number of another machine with its width in bits.
        page_size_bytes: the largest page size that it can be loaded with.
        glibc: least version of the C library, like `2.27`; empty when it wants none.
        needed: file names of the libraries that it is linked with.
    """

    architecture: str
    page_size_bytes: int
    glibc: str
    needed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int
    alignment: int


def read_shared_object(data: bytes) -> SharedObject:
    """What the ELF file with these bytes needs.

    Raises:
        ValueError: it is no ELF file, or a damaged one.
    """
    if not data.startswith(MAGIC) or len(data) < 64:
        raise ValueError("it is no ELF file")
    bits, order, machine = 32 * data[4], data[5], struct.unpack_from("<H", data, 18)[0]
    if bits != 64 or order != 1:
        return SharedObject(
            architecture=f"machine {machine}, {bits} bits", page_size_bytes=0, glibc="", needed=()
        )
    try:
        segments = tuple(_segments(data))
        loads = [segment.alignment for segment in segments if segment.kind == _LOAD]
        dynamic = list(_dynamic(data, segments))
        strings = _strings_at(segments, dynamic)
        return SharedObject(
            architecture=_MACHINES.get(machine, f"machine {machine}, {bits} bits"),
            page_size_bytes=min(loads, default=0),
            glibc=max(_glibc_versions(data, segments, dynamic, strings), key=version_key, default=""),
            needed=tuple(_text(data, strings + value) for tag, value in dynamic if tag == _NEEDED),
        )
    except (struct.error, OverflowError, ValueError) as error:
        raise ValueError(f"its ELF headers are damaged: {error}") from error


def _segments(data: bytes) -> Iterator[_Segment]:
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for index in range(count):
        kind, _, offset, address, _, in_file, _, alignment = struct.unpack_from(
            "<IIQQQQQQ", data, table + index * size
        )
        yield _Segment(kind=kind, offset=offset, address=address, size=in_file, alignment=alignment)


def _dynamic(data: bytes, segments: tuple[_Segment, ...]) -> Iterator[tuple[int, int]]:
    """The entries (tag, value) of the dynamic section."""
    for segment in segments:
        if segment.kind == _DYNAMIC:
            for offset in range(segment.offset, segment.offset + segment.size, 16):
                tag, value = struct.unpack_from("<QQ", data, offset)
                if tag == 0:
                    return
                yield tag, value


def _strings_at(segments: tuple[_Segment, ...], dynamic: list[tuple[int, int]]) -> int:
    return next((_offset(segments, value) for tag, value in dynamic if tag == _STRTAB), 0)


def _offset(segments: tuple[_Segment, ...], address: int) -> int:
    """Where in the file lies what is loaded at `address`."""
    for segment in segments:
        if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise ValueError(f"nothing is loaded at {address:#x}")


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("ascii")


def _glibc_versions(
    data: bytes, segments: tuple[_Segment, ...], dynamic: list[tuple[int, int]], strings: int
) -> Iterator[str]:
    """Every version of the C library that symbols are wanted of."""
    where = next((value for tag, value in dynamic if tag == _VERNEED), None)
    if where is None:
        return
    entry = _offset(segments, where)
    for _ in range(next((value for tag, value in dynamic if tag == _VERNEEDNUM), 0)):
        _, count, _, first, following = struct.unpack_from("<HHIII", data, entry)
        symbol = entry + first
        for _ in range(count):
            _, _, _, name, after = struct.unpack_from("<IHHII", data, symbol)
            version = _text(data, strings + name)
            if version in _GLIBC_MARKS:
                yield _GLIBC_MARKS[version]
            elif version.startswith("GLIBC_") and version[6:7].isdigit():
                yield version[6:]
            if after == 0:
                break
            symbol += after
        if following == 0:
            break
        entry += following
