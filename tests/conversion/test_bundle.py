"""Bundles on disk: whole or not at all, and every byte the promised one."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from agent.contract.errors import (
    ArchiveUnsafe,
    BundleMissing,
    DigestMismatch,
    DocumentInvalid,
    EdgeError,
    ExitCode,
    FileMissing,
    SizeMismatch,
)
from agent.contract.manifest import (
    BundleManifest,
    Golden,
    GoldenOrigin,
    ModelFormat,
    Requirements,
    Task,
    TensorSpec,
)
from edge.bundle import find_bundles, open_bundle, write_bundle

FILES: dict[str, bytes | Path] = {
    "model.tflite": b"a model", "golden.npz": b"golden", "report.json": b"{}", "more/labels.txt": b"0\n1\n",
}  # fmt: skip
MANIFEST = partial(
    BundleManifest,
    model="digits",
    profile="sim-tflite",
    format=ModelFormat.TFLITE,
    model_file="model.tflite",
    task=Task.CLASSIFICATION,
    inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 4)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2)),),
    golden=Golden(file="golden.npz", samples=1, origin=GoldenOrigin.SANITY),
    requires=Requirements(engines={"litert": "1.0.0"}),
    recipe={"name": "as-is"},
    report_file="report.json",
    source_sha256="0" * 64,
    verdict="not-judged",
    labels_file="more/labels.txt",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle's folder."""
    write_bundle(tmp_path / "bundle", files=FILES, manifest=lambda entries: MANIFEST(files=entries))
    return tmp_path / "bundle"


def test_what_was_written_is_what_is_opened(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "b", files=FILES, manifest=lambda entries: MANIFEST(files=entries))

    bundle = open_bundle(tmp_path / "b", digest=digest)

    assert bundle.digest == digest
    assert bundle.manifest.model == "digits"
    assert bundle.path("more/labels.txt").read_bytes() == b"0\n1\n"


def test_equal_bundles_have_equal_digests_and_files_can_be_copied(tmp_path: Path, folder: Path) -> None:
    copied = {**FILES, "model.tflite": folder / "model.tflite"}

    digest = write_bundle(tmp_path / "again", files=copied, manifest=lambda entries: MANIFEST(files=entries))

    assert digest == open_bundle(folder).digest


def test_every_flipped_byte_of_a_file_is_found(folder: Path) -> None:
    for name, content in FILES.items():
        for place in range(len(content) if isinstance(content, bytes) else 0):
            changed = bytearray(bytes(content))
            changed[place] ^= 1
            (folder / name).write_bytes(changed)
            with pytest.raises(DigestMismatch) as refused:
                open_bundle(folder)
            assert refused.value.exit_code is ExitCode.NEGATIVE_VERDICT
        (folder / name).write_bytes(bytes(content))


def test_every_flipped_byte_of_the_manifest_is_found_by_who_knows_the_digest(folder: Path) -> None:
    whole, digest = (folder / "manifest.json").read_bytes(), open_bundle(folder).digest
    for place in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[place] ^= 1
        (folder / "manifest.json").write_bytes(changed)
        with pytest.raises(DigestMismatch):
            open_bundle(folder, digest=digest)
        try:
            assert open_bundle(folder).digest != digest
        except EdgeError:
            continue


def test_other_lengths_are_told_as_such(folder: Path) -> None:
    for content in (b"", b"a mode", b"a model and more"):
        (folder / "model.tflite").write_bytes(content)
        with pytest.raises(SizeMismatch):
            open_bundle(folder)


@pytest.mark.parametrize("name", ["model.tflite", "more/labels.txt", "manifest.json"])
def test_a_missing_file_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(FileMissing):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["extra.bin", "more/extra.bin", ".hidden"])
def test_what_is_not_listed_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")

    with pytest.raises(ArchiveUnsafe, match="not listed"):
        open_bundle(folder)


def test_an_empty_folder_is_refused_too(folder: Path) -> None:
    (folder / "cache").mkdir()

    with pytest.raises(ArchiveUnsafe):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["model.tflite", "manifest.json"])
def test_links_are_never_followed(tmp_path: Path, folder: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)

    with pytest.raises(ArchiveUnsafe):
        open_bundle(folder)


def test_a_linked_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "more").rename(tmp_path / "elsewhere")
    (folder / "more").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ArchiveUnsafe, match="link"):
        open_bundle(folder)


def test_a_pipe_blocks_nobody(folder: Path) -> None:
    (folder / "model.tflite").unlink()
    os.mkfifo(folder / "model.tflite")

    with pytest.raises(ArchiveUnsafe, match="no plain file"):
        open_bundle(folder)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", ".."])
def test_a_manifest_never_points_out_of_its_folder(folder: Path, path: str) -> None:
    plain = json.loads((folder / "manifest.json").read_bytes())
    plain["files"][0]["path"] = path
    (folder / "manifest.json").write_text(json.dumps(plain))

    with pytest.raises(DocumentInvalid):
        open_bundle(folder)


def test_a_manifest_that_is_none_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DocumentInvalid):
        write_bundle(tmp_path / "b", files={"other": b""}, manifest=lambda entries: MANIFEST(files=entries))

    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_when_asked(folder: Path) -> None:
    def write(*, replace: bool) -> None:
        files = {**FILES, "model.tflite": b"another"}
        write_bundle(folder, files=files, manifest=lambda entries: MANIFEST(files=entries), replace=replace)

    with pytest.raises(FileExistsError):
        write(replace=False)
    assert (folder / "model.tflite").read_bytes() == b"a model"

    write(replace=True)
    assert open_bundle(folder).path("model.tflite").read_bytes() == b"another"
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_bundles_are_found_in_the_folder_that_was_named(folder: Path) -> None:
    assert find_bundles(folder) == [folder]
    assert find_bundles(folder.parent) == [folder]
    with pytest.raises(BundleMissing):
        find_bundles(folder / "more")
