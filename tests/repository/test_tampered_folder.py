"""Whoever can write to the repository folder, but has no key, can't make edge sign for what he put there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from agent.contract.errors import BlobMissing, RepositoryDamaged
from edge.identity import KeyRing
from edge.repository import Repository
from edge.repository.roles import target_file
from tests.repository.fleet import Fleet, passphrase


def newest(fleet: Fleet, role: str) -> Path:
    return max(
        (fleet.folder.repository / "metadata").glob(f"*{role}.json"), key=lambda path: path.stat().st_mtime_ns
    )


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "desired"])
def test_a_flipped_byte_is_found_before_anything_is_signed(fleet: Fleet, role: str) -> None:
    path = newest(fleet, role)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with pytest.raises(RepositoryDamaged, match=path.name):
        fleet.repository.assign(fleet.desired("b-1"))


def test_a_flipped_byte_in_a_bin_is_found_when_it_is_needed(fleet: Fleet) -> None:
    fleet.repository.assign(fleet.desired("b-1"))
    path = newest(fleet, "desired-bin-*")
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(RepositoryDamaged, match="desired-bin"):
        fleet.repository.assign(fleet.desired("b-1", 2))


@pytest.mark.parametrize("role", ["root", "snapshot", "targets", "desired"])
def test_a_missing_file_is_named(fleet: Fleet, role: str) -> None:
    path = newest(fleet, role)
    path.unlink()
    with pytest.raises(RepositoryDamaged, match="it is not there"):
        fleet.repository.releases()


def test_a_changed_release_is_not_read(fleet: Fleet) -> None:
    (path,) = (fleet.folder.repository / "targets" / "releases" / "digits").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(RepositoryDamaged):
        fleet.repository.release("digits@1")


def test_a_blob_that_is_gone_is_missed_before_a_push(fleet: Fleet) -> None:
    fleet.repository.assign(fleet.desired("b-1"))
    shutil.rmtree(fleet.folder.repository / "blobs")
    with pytest.raises(BlobMissing, match="is not in this folder") as caught:
        fleet.repository.push_set("b-1")
    assert "edge publish" in str(caught.value.hint)
    news = fleet.repository.push_set("b-1", signed_alone=True)
    assert (list(news.blobs), len(news.targets)) == ([], 1), "what is signed can be shown without it"
    assert not fleet.repository.has_runtime(fleet.runtime)


def test_targets_signed_by_the_desired_key_are_refused(fleet: Fleet) -> None:
    path = newest(fleet, "targets")
    metadata = Metadata[Targets].from_bytes(path.read_bytes())
    metadata.signed.targets["bundles/evil.json"] = target_file("bundles/evil.json", b"{}")
    metadata.sign(fleet.keys.signer("desired"))
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(RepositoryDamaged):
        fleet.repository.releases()


def test_a_whole_repository_of_another_root_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    others = KeyRing(tmp_path / "other-keys")
    others.create(passphrase)
    shutil.rmtree(fleet.folder.repository)
    Repository.create(fleet.folder.repository, others, passphrase)
    with pytest.raises(RepositoryDamaged, match="this fleet's root key"):
        Repository.open(fleet.folder.repository, fleet.keys)


def test_a_next_root_that_the_last_one_did_not_sign_is_refused(fleet: Fleet) -> None:
    metadata = fleet.folder.repository / "metadata"
    root = Metadata[Root].from_bytes((metadata / "1.root.json").read_bytes())
    stranger = CryptoSigner.generate_ed25519()
    root.signed.version = 2
    root.signed.add_key(stranger.public_key, "root")
    root.sign(stranger)
    (metadata / "2.root.json").write_bytes(root.to_bytes())
    with pytest.raises(RepositoryDamaged):
        fleet.repository.releases()
