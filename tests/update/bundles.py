"""Bundles whose model file says how the fixture agent behaves with it."""

from __future__ import annotations

import io
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.contract.codec import digest, encode
from agent.contract.manifest import (
    BundleManifest,
    FileEntry,
    Golden,
    GoldenOrigin,
    ModelFormat,
    Requirements,
    Task,
    TensorSpec,
)

PROFILE = "sim-x86-64"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    manifest: BundleManifest
    manifest_bytes: bytes
    digest: str
    folder: Path


def golden_npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, input_0=np.zeros((8, 4), np.int8))
    return stream.getvalue()


def make_bundle(folder: Path, *, behaviour: str, profile: str = PROFILE, model: str = "digits") -> Bundle:
    """A bundle whose model file says how the fixture agent behaves with it."""
    folder.mkdir(parents=True)
    files = {"model.tflite": behaviour.encode(), "golden.npz": golden_npz(), "report.json": b"{}"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tensor = TensorSpec("x", "int8", (-1, 4), 0.1, 3)
    manifest = BundleManifest(
        model=model, profile=profile, format=ModelFormat.TFLITE, model_file="model.tflite",
        task=Task.CLASSIFICATION, inputs=(tensor,), outputs=(tensor,),
        golden=Golden("golden.npz", 8, GoldenOrigin.HELD_OUT, floor=0.9, agreement=0.98),
        requires=Requirements({"litert": "2.0.0"}, (platform.machine(),)), recipe={"name": "int8"},
        report_file="report.json", source_sha256=digest(b"source"), verdict="within",
        files=tuple(FileEntry(name, len(data), digest(data)) for name, data in sorted(files.items())),
    )  # fmt: skip
    data = encode(manifest)
    return Bundle(manifest=manifest, manifest_bytes=data, digest=digest(data), folder=folder)
