"""The golden set's file: inputs, what the proof run answered, what the float model answered.

The rule: an uncompressed `.npz` of plain arrays `input_k`, `proof_k` and `float_k`, all with the same number of
samples; pickles are never read. The same inputs and answers give the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import DocumentInvalid

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class GoldenSet:
    """A golden set in memory.

    Attributes:
        inputs: one array `[N, ...]` an input tensor, engine dtype.
        proof: the artifact's own outputs in the proof run, engine dtype; empty when there was none.
        float_outputs: the float original's, float32; empty for a sanity set.
    """

    inputs: Arrays
    proof: Arrays = ()
    float_outputs: Arrays = ()

    @property
    def samples(self) -> int:
        """N."""
        return len(self.inputs[0])


def write_golden(golden: GoldenSet) -> bytes:
    """The golden set as the bytes of its file."""
    arrays = {f"input_{k}": array for k, array in enumerate(golden.inputs)}
    arrays |= {f"proof_{k}": array for k, array in enumerate(golden.proof)}
    arrays |= {f"float_{k}": array for k, array in enumerate(golden.float_outputs)}
    return pack(arrays)


def read_golden(path: Path) -> GoldenSet:
    """Read a golden set.

    Raises:
        DocumentInvalid: the file is no golden set.
    """
    arrays = unpack(path)
    inputs, proof, floats = (_in_order(arrays, name) for name in ("input", "proof", "float"))
    if not inputs or len(inputs) + len(proof) + len(floats) != len(arrays):
        raise DocumentInvalid(
            document=path.name, reason="arrays are named otherwise than input_k, proof_k, float_k"
        )
    if len({len(array) if array.ndim else -1 for array in (*inputs, *proof, *floats)}) != 1 or not len(
        inputs[0]
    ):
        raise DocumentInvalid(
            document=path.name, reason="its arrays have different numbers of samples, or none"
        )
    return GoldenSet(inputs=inputs, proof=proof, float_outputs=floats)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as an uncompressed `.npz`; equal arrays give equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())
    return packed.getvalue()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The same as a file, without a second copy of the arrays in memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def unpack(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz`.

    Raises:
        DocumentInvalid: it is none, or holds objects.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DocumentInvalid(document=path.name, reason="it is no .npz")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DocumentInvalid(document=path.name, reason=str(error) or type(error).__name__) from error


def _in_order(arrays: Mapping[str, NDArray[Any]], name: str) -> Arrays:
    count = 0
    while f"{name}_{count}" in arrays:
        count += 1
    return tuple(arrays[f"{name}_{k}"] for k in range(count))
