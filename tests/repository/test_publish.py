from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.contract.errors import (
    DigestMismatch,
    FileMissing,
    MixedModels,
    NothingToPublish,
    PassphraseMissing,
    PassphraseWrong,
    ProfileTwice,
    PublishRefused,
    ReleaseUnknown,
    RepositoryExists,
    RepositoryMissing,
    SizeMismatch,
)
from agent.contract.manifest import Golden, GoldenOrigin
from agent.contract.release import Budgets
from agent.contract.trial import PROOF_PART
from edge.bundle import open_bundle
from edge.identity import KeyRing
from edge.repository import Repository
from tests.repository.fleet import Fleet, make_runtime, passphrase


def files(fleet: Fleet) -> dict[Path, bytes]:
    folder = fleet.folder.repository
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_versions_count_up_for_each_name(fleet: Fleet) -> None:
    assert fleet.release.title == "digits@1"
    assert fleet.repository.publish("digits", [fleet.bundle("a")]).title == "digits@2"
    assert fleet.repository.publish("faces", [fleet.bundle("b", model="faces")]).title == "faces@1"
    assert [release.title for release in fleet.repository.releases()] == ["digits@1", "digits@2", "faces@1"]


def test_a_release_holds_one_bundle_for_each_profile(fleet: Fleet) -> None:
    pi, jetson = fleet.bundle("pi", weights=b"p"), fleet.bundle("jetson", profile="jetson-orin-nano")
    release = fleet.repository.publish("digits", [pi, jetson], budgets=Budgets(p95_ms=20.0))
    assert release.bundles == {"raspberry-pi-5": pi.digest, "jetson-orin-nano": jetson.digest}
    assert fleet.repository.release("digits@2") == release
    assert fleet.repository.bundle(jetson.digest) == jetson.manifest
    assert release.budgets.p95_ms == 20.0
    assert not release.forced


def test_a_version_of_ten_is_newer_than_nine(fleet: Fleet) -> None:
    bundle = fleet.bundle("a")
    assert [fleet.repository.publish("digits", [bundle]).version for _ in range(10)] == list(range(2, 12))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"verdict": "outside"}, "outside the budget"),
        ({"verdict": "unknown"}, "too little data"),
        ({"verdict": "splendid"}, "`splendid`"),
        ({"golden": Golden("golden.npz", 64, GoldenOrigin.HELD_OUT, floor=0.9, agreement=0.5)}, "50.0%"),
        ({"golden": Golden("golden.npz", 64, GoldenOrigin.HELD_OUT)}, "states no agreement"),
    ],
)
def test_a_bad_verdict_is_published_by_force_only(
    fleet: Fleet, options: dict[str, object], reason: str
) -> None:
    bundle = fleet.bundle("bad", **options)
    before = files(fleet)
    with pytest.raises(PublishRefused, match=reason):
        fleet.repository.publish("digits", [bundle])
    assert files(fleet) == before
    assert fleet.repository.publish("digits", [bundle], force=True).forced


def test_a_good_bundle_is_not_called_forced(fleet: Fleet) -> None:
    assert not fleet.repository.publish("digits", [fleet.bundle("good")], force=True).forced


def test_a_model_without_data_may_be_published_as_it_is(fleet: Fleet) -> None:
    sanity = Golden("golden.npz", 8, GoldenOrigin.SANITY, proved_in="litert 2.3.0, x86_64")
    bundle = fleet.bundle("as-is", verdict="not-judged", golden=sanity)
    assert not fleet.repository.publish("digits", [bundle]).forced


def test_the_floor_itself_is_enough(fleet: Fleet) -> None:
    golden = Golden("golden.npz", 64, GoldenOrigin.HELD_OUT, floor=PROOF_PART, agreement=PROOF_PART)
    fleet.repository.publish("digits", [fleet.bundle("edge", golden=golden)])


def test_what_would_be_ambiguous_is_refused_even_by_force(fleet: Fleet) -> None:
    digits, faces = fleet.bundle("digits"), fleet.bundle("faces", model="faces", profile="jetson-orin-nano")
    again = fleet.bundle("again", weights=b"other")
    for error, bundles in (
        (MixedModels, [digits, faces]),
        (ProfileTwice, [digits, again]),
        (NothingToPublish, []),
    ):
        with pytest.raises(error):
            fleet.repository.publish("digits", bundles, force=True)
    assert len(fleet.repository.releases()) == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"weighty", DigestMismatch),
        (b"weigh", SizeMismatch),
        (b"weights!", SizeMismatch),
        (None, FileMissing),
    ],
)
def test_a_file_that_changed_after_its_manifest_is_refused(
    fleet: Fleet, data: bytes | None, error: type[Exception]
) -> None:
    bundle = fleet.bundle("a", weights=b"WEIGHTS")
    if data is None:
        (bundle.folder / "model.tflite").unlink()
    else:
        (bundle.folder / "model.tflite").write_bytes(data)
    with pytest.raises(error, match=r"model\.tflite"):
        fleet.repository.publish("digits", [bundle])
    assert len(fleet.repository.releases()) == 1
    assert not [path for path in files(fleet) if path.name.startswith(".part-")]


def test_an_unknown_release_is_answered_with_what_there_is(fleet: Fleet) -> None:
    with pytest.raises(ReleaseUnknown, match=r"digits@1, did you mean `digits@1`"):
        fleet.repository.release("digit@1")


def test_a_runtime_is_taken_in_once_and_needs_no_key_the_second_time(fleet: Fleet, tmp_path: Path) -> None:
    closed = Repository.open(fleet.folder.repository, KeyRing(fleet.folder.keys))
    assert closed.has_runtime(fleet.runtime)
    assert closed.add_runtime(*make_runtime(tmp_path / "same")) == fleet.runtime
    manifest, blobs = make_runtime(tmp_path / "new", b"a new agent")
    with pytest.raises(PassphraseMissing):
        closed.add_runtime(manifest, blobs)
    assert fleet.repository.add_runtime(manifest, blobs) != fleet.runtime


def test_a_new_agent_brings_its_own_layer_only(fleet: Fleet, tmp_path: Path) -> None:
    manifest, blobs = make_runtime(tmp_path / "new", b"a new agent")
    agent = {sha256: path for sha256, path in blobs.items() if path.name == "edge-agent.zip"}
    runtime = fleet.repository.add_runtime(manifest, agent)
    assert fleet.repository.runtime(runtime).layers[1:] == fleet.repository.runtime(fleet.runtime).layers[1:]


def test_a_layer_that_is_not_what_the_runtime_says_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    manifest, blobs = make_runtime(tmp_path / "new", b"a new agent")
    blobs[next(iter(blobs))].write_bytes(b"b new agent")
    with pytest.raises(DigestMismatch, match="edge-agent"):
        fleet.repository.add_runtime(manifest, blobs)


def test_publishing_needs_the_passphrase(fleet: Fleet) -> None:
    keys = KeyRing(fleet.folder.keys)
    with pytest.raises(PassphraseMissing):
        Repository.open(fleet.folder.repository, keys).publish("digits", [fleet.bundle("a")])
    with pytest.raises(PassphraseWrong):
        Repository.open(fleet.folder.repository, keys, lambda role: "wrong").publish(
            "digits", [fleet.bundle("b")]
        )


def test_a_repository_is_made_once_and_quickly(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(RepositoryExists):
        Repository.create(fleet.folder.repository, fleet.keys, passphrase)
    with pytest.raises(RepositoryMissing):
        Repository.open(tmp_path / "nothing", fleet.keys)
    keys = KeyRing(tmp_path / "keys")
    began = time.process_time()
    keys.create(passphrase)
    Repository.create(tmp_path / "repository", keys, passphrase)
    assert time.process_time() - began < 2.0


def test_a_bundle_that_was_opened_from_disk_is_published(fleet: Fleet) -> None:
    made = fleet.bundle("made")
    opened = open_bundle(made.folder)
    release = fleet.repository.publish("digits", [opened])
    assert release.bundles == {opened.manifest.profile: opened.digest}
