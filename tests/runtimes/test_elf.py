"""What shared objects need, read from their headers."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from agent.contract.profile import version_key
from edge.runtimes.elf import read_shared_object
from tests.runtimes.wheels import shared_object


def test_a_hand_made_object_says_what_was_put_into_it() -> None:
    found = read_shared_object(
        shared_object("aarch64", alignment=4096, glibc="2.38", needs="libcudart.so.12")
    )
    assert (found.architecture, found.page_size_bytes, found.glibc) == ("aarch64", 4096, "2.38")
    assert found.needed == ("libcudart.so.12",)


def test_real_objects_are_read_as_readelf_reads_them() -> None:
    readelf = shutil.which("readelf")
    objects = sorted(Path(sysconfig.get_paths()["platlib"]).glob("numpy/**/*.so"))[:12]
    if readelf is None or not objects:
        pytest.skip("there is no readelf, or NumPy has no shared objects here")
    for path in objects:
        found = read_shared_object(path.read_bytes())
        versions = subprocess.run([readelf, "-VW", path], capture_output=True, text=True, check=True).stdout
        wanted = re.findall(r"Name: GLIBC_(\d[\d.]*)", versions)
        assert found.glibc == max(wanted, key=version_key, default="")
        sections = subprocess.run([readelf, "-dW", path], capture_output=True, text=True, check=True).stdout
        assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.*)\]", sections)
        segments = subprocess.run([readelf, "-lW", path], capture_output=True, text=True, check=True).stdout
        assert found.page_size_bytes == min(
            int(line.split()[-1], 16) for line in re.findall(r"LOAD .*", segments)
        )


def test_a_32_bit_object_is_named_as_such() -> None:
    data = bytearray(shared_object())
    data[4], data[18] = 1, 40
    assert read_shared_object(bytes(data)).architecture == "machine 40, 32 bits"


@pytest.mark.parametrize("length", [0, 10, 63, 70, 150, 200])
def test_a_cut_object_is_refused_in_words(length: int) -> None:
    with pytest.raises(ValueError, match=r"no ELF file|headers are damaged"):
        read_shared_object(shared_object()[:length])


def test_no_flipped_byte_breaks_the_reader() -> None:
    whole = shared_object()
    for place in range(len(whole)):
        for value in (0, 0x7F, 0xFF):
            data = bytearray(whole)
            data[place] = value
            with contextlib.suppress(ValueError):
                read_shared_object(bytes(data))
