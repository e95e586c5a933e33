"""A fleet with keys, a repository, bundles and a runtime, as small as they can be and real all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agent.contract.codec import digest, encode
from agent.contract.manifest import (
    BundleManifest,
    EngineName,
    FileEntry,
    Golden,
    GoldenOrigin,
    ModelFormat,
    Requirements,
    Task,
    TensorSpec,
)
from agent.contract.release import DesiredState, Generation, GenerationModel, Release
from agent.contract.runtime import Layer, Platform, RuntimeManifest
from edge.config import FleetFolder
from edge.identity import KeyRing, keyfile
from edge.repository import Repository, Trust, new_nonce

PASSPHRASE = "correct horse"


@contextmanager
def quick_keys() -> Iterator[None]:
    """New keys are opened at once, where no test is about that: it takes 0.3 s otherwise, on purpose."""
    usual, keyfile.KDF_ROUNDS = keyfile.KDF_ROUNDS, 1
    try:
        yield
    finally:
        keyfile.KDF_ROUNDS = usual


def passphrase(name: str) -> str:
    assert name.partition("-")[0] in ("root", "targets")
    return PASSPHRASE


@dataclass(frozen=True, kw_only=True)
class MadeBundle:
    manifest: BundleManifest
    manifest_bytes: bytes
    digest: str
    folder: Path


def make_bundle(
    folder: Path,
    *,
    model: str = "digits",
    profile: str = "raspberry-pi-5",
    verdict: str = "within",
    weights: bytes = b"weights",
    golden: Golden | None = None,
) -> MadeBundle:
    folder.mkdir(parents=True)
    files = {"model.tflite": weights, "golden.npz": b"golden " + weights, "report.json": b"{}"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tensor = TensorSpec("x", "int8", (-1, 8, 8, 1), 0.1, 3)
    manifest = BundleManifest(
        model=model, profile=profile, format=ModelFormat.TFLITE, model_file="model.tflite",
        task=Task.CLASSIFICATION, inputs=(tensor,), outputs=(tensor,),
        golden=golden or Golden("golden.npz", 64, GoldenOrigin.HELD_OUT, floor=0.9, agreement=0.98),
        requires=Requirements({"litert": "2.0.0"}, ("aarch64",)), recipe={"name": "int8"},
        report_file="report.json", source_sha256=digest(b"source"), verdict=verdict,
        files=tuple(FileEntry(name, len(data), digest(data)) for name, data in sorted(files.items())),
    )  # fmt: skip
    manifest_bytes = encode(manifest)
    (folder / "manifest.json").write_bytes(manifest_bytes)
    return MadeBundle(
        manifest=manifest, manifest_bytes=manifest_bytes, digest=digest(manifest_bytes), folder=folder
    )


def make_runtime(folder: Path, agent: bytes = b"agent") -> tuple[bytes, dict[str, Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    layers, blobs = [], {}
    for name, data in (("edge-agent", agent), ("numpy", b"numpy"), ("ai-edge-litert", b"litert")):
        sha256 = digest(data)
        blobs[sha256] = folder / f"{name}.zip"
        blobs[sha256].write_bytes(data)
        layers.append(Layer(name, "1.0.0", sha256, len(data), 2 * len(data)))
    manifest = RuntimeManifest(
        platform=Platform("aarch64", "3.11", "2.36"), engine=EngineName.LITERT, engine_version="2.3.0",
        agent_version="0.1.0", contracts=(1,), layers=tuple(layers),
    )  # fmt: skip
    return encode(manifest), blobs


def desired(
    fleet: str, device: str, counter: int, runtime: str, releases: list[Release], *, nonce: str | None = None
) -> DesiredState:
    models = tuple(
        GenerationModel(release.name, release.title, bundle)
        for release in releases
        for bundle in list(release.bundles.values())[:1]
    )
    return DesiredState(
        fleet=fleet, device=device, counter=counter, generation=Generation(counter, runtime, models),
        nonce=nonce or new_nonce(), not_before=int(time.time()),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A fleet folder with one release `digits@1` and one runtime in its repository."""

    folder: FleetFolder
    keys: KeyRing
    repository: Repository
    release: Release
    runtime: str
    work: Path

    def bundle(self, name: str, **options: object) -> MadeBundle:
        return make_bundle(self.work / name, **options)  # type: ignore[arg-type]

    def desired(self, device: str, counter: int = 1, *releases: Release) -> DesiredState:
        return desired(
            self.folder.config.fleet, device, counter, self.runtime, list(releases) or [self.release]
        )

    @property
    def trust(self) -> Trust:
        return Trust(self.folder.repository, self.keys, passphrase)

    def with_own_keys(self) -> Fleet:
        """The same fleet with the keys of its own folder, open already (that takes 0.3 s a key)."""
        keys = KeyRing(self.folder.keys)
        keys._open.update(self.keys._open)
        return replace(self, keys=keys, repository=Repository(self.folder.repository, keys, passphrase))

    def moved(self, folder: FleetFolder, work: Path) -> Fleet:
        """The same fleet in a copy of its folder."""
        repository = Repository(folder.repository, self.keys, passphrase)
        return replace(self, folder=folder, repository=repository, work=work)


def make_fleet(path: Path) -> Fleet:
    folder = FleetFolder.create(path / "fleet", "kitchen")
    keys = KeyRing(folder.keys)
    keys.create(passphrase)
    repository = Repository.create(folder.repository, keys, passphrase)
    release = repository.publish("digits", [make_bundle(path / "bundle")])
    runtime = repository.add_runtime(*make_runtime(path / "runtime"))
    return Fleet(folder=folder, keys=keys, repository=repository, release=release, runtime=runtime, work=path)
