"""Requests of a generation's own golden inputs, for a probation to which no traffic comes.

The rule: standard library only (the update process imports no numpy): an uncompressed `.npz` is a zip of raw arrays,
of which the first samples are enough.
"""

from __future__ import annotations

import ast
import http.client
import json
import math
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from agent.contract.manifest import BundleManifest, TensorSpec
from agent.contract.names import parse_release
from agent.contract.release import GenerationModel
from agent.update.asking import ask

SAMPLES = 4
TIMEOUT_S = 30.0
_TYPES = {
    "f2": ("e", "FP16"), "f4": ("f", "FP32"), "f8": ("d", "FP64"), "b1": ("?", "BOOL"),
    "i1": ("b", "INT8"), "i2": ("h", "INT16"), "i4": ("i", "INT32"), "i8": ("q", "INT64"),
    "u1": ("B", "UINT8"), "u2": ("H", "UINT16"), "u4": ("I", "UINT32"), "u8": ("Q", "UINT64"),
}  # fmt: skip


@dataclass
class GoldenTraffic:
    """Requests to one model, one after the other.

    Attributes:
        model: the name that it is served under. version: which of that name.
        bodies: KServe v2 requests as JSON.
    """

    model: str
    version: int
    bodies: tuple[bytes, ...]
    _next: int = field(default=0)

    def send(self, host: str, port: int) -> str | None:
        """Send the next request. Why it failed, or None when it was answered."""
        if not self.bodies:
            return None
        body = self.bodies[self._next % len(self.bodies)]
        self._next += 1
        path = f"/v2/models/{self.model}/versions/{self.version}/infer"
        try:
            status, said = ask(host, port, "POST", path, timeout_s=TIMEOUT_S, body=body)
        except (OSError, http.client.HTTPException) as error:
            return f"a golden input to `{self.model}` was not answered: {type(error).__name__} {error}"
        if status in (200, 429, 503):
            return None
        text = said.decode(errors="replace")[:200]
        return f"a golden input to `{self.model}` was answered with {status}: {text}"


def traffic_of(model: GenerationModel, bundle: Path, manifest: BundleManifest) -> GoldenTraffic:
    """Requests from a bundle's golden set; none where its arrays are of a kind that JSON does not carry."""
    columns: list[list[dict[str, Any]]] = []
    with zipfile.ZipFile(bundle / manifest.golden.file) as archive:
        for index, spec in enumerate(manifest.inputs):
            with archive.open(f"input_{index}.npy") as file:
                columns.append(_samples(file, spec))
    return GoldenTraffic(
        model=model.name,
        version=parse_release(model.release)[1],
        bodies=tuple(json.dumps({"inputs": list(row)}).encode() for row in zip(*columns, strict=False)),
    )


def _samples(file: IO[bytes], spec: TensorSpec) -> list[dict[str, Any]]:
    """The first samples of an array as v2 tensors."""
    if file.read(6) != b"\x93NUMPY":
        return []
    long_header = file.read(2)[0] > 1
    (length,) = struct.unpack("<I" if long_header else "<H", file.read(4 if long_header else 2))
    header = ast.literal_eval(file.read(length).decode())
    kind, shape = str(header["descr"]), tuple(header["shape"])
    if kind[1:] not in _TYPES or kind[0] not in "<|" or header["fortran_order"] or not shape:
        return []
    code, datatype = _TYPES[kind[1:]]
    count = math.prod(shape[1:])
    found = []
    for _ in range(min(SAMPLES, shape[0])):
        values = struct.unpack(f"<{count}{code}", file.read(count * struct.calcsize(f"<{code}")))
        if not all(math.isfinite(value) for value in values):
            return []
        found.append(
            {"name": spec.name, "shape": [1, *shape[1:]], "datatype": datatype, "data": list(values)}
        )
    return found
