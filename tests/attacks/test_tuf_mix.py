"""Mix-and-match, wrong software, and bundles of which a part is withheld."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.contract.codec import digest, encode
from agent.contract.manifest import EngineName, FileEntry
from agent.contract.release import Budgets, Generation, GenerationModel, Release
from agent.contract.runtime import Platform, RuntimeManifest
from agent.contract.targets import DESIRED_ROLE, bundle_target, release_target, runtime_target
from tests.attacks.stolen import BIN, LEAF_FIRST, Books
from tests.attacks.victims import Victim
from tests.update.bundles import PROFILE, make_bundle
from tests.update.world import GLIBC, PYTHON

DOUBTED = "artifact.signature-invalid"
WRONG = "artifact.wrong-board"
MIXED = "artifact.release-mixed"


# --- metadata of two times -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["snapshot", *LEAF_FIRST])
def test_metadata_of_two_publications_do_not_go_together(victim: Victim, role: str) -> None:
    """Each of these files was rightly signed, and is newer than what the board knows: together they never existed."""
    books = victim.pushed(2)
    books.sign(*LEAF_FIRST)
    older = books.files()
    books.assign(victim.same(3))
    books.sign(*LEAF_FIRST).put(victim.board)
    name = f".{books.name(role)}.json"
    (new,) = [path for path in books.files() if path.endswith(name)]
    (old,) = [path for path in older if path.endswith(name)]
    (victim.inbox / new).write_bytes(older[old])
    victim.refused(DOUBTED, really=role == "snapshot")
    books.put(victim.board)
    victim.accepted(3)


def test_the_files_of_two_generations_in_one_inbox_make_one_of_them(victim: Victim) -> None:
    victim.pushed(2)
    kept = {path: path.read_bytes() for path in victim.inbox.rglob("*") if path.is_file()}
    victim.pushed(3)
    for path, data in kept.items():
        if not path.exists():
            path.write_bytes(data)
    victim.accepted(3, really=True)
    (victim.inbox / "metadata/timestamp.json").write_bytes(kept[victim.inbox / "metadata/timestamp.json"])
    (victim.inbox / "request").write_text("older timestamp")
    victim.refused("artifact.replay-refused")


# --- parts of two releases -------------------------------------------------------------------------------------


def assigned(victim: Victim, counter: int, *models: GenerationModel, runtime: str = "") -> Books:
    """What somebody asks for who has the keys of desired states, snapshot and timestamp. A push goes before, so that
    all that was published is in the inbox."""
    books = Books.of_fleet(victim.fleet, victim.keys)
    shutil.copytree(victim.fleet.folder.repository / "targets", victim.inbox / "targets", dirs_exist_ok=True)
    generation = Generation(counter, runtime or victim.fleet.runtime, models)
    books.assign(victim.same(counter, generation=generation))
    books.sign(BIN)
    return books


def later(books: Books, by: int) -> Books:
    """So many publications on: nothing of it is older than what an earlier attack showed the board."""
    for role in books.of:
        books.signed(role).version += by
    return books.sign(*LEAF_FIRST)


def model_of(published: Release, **changes: Any) -> GenerationModel:
    found = GenerationModel("digits", published.title, published.bundles[PROFILE])
    return replace(found, **changes)


def test_a_model_of_one_release_under_the_name_title_or_budgets_of_another_is_refused(victim: Victim) -> None:
    other = victim.better
    wrong = {
        "another release's bundle": model_of(victim.release, bundle=other.bundles[PROFILE]),
        "another release's title": model_of(other, release=victim.release.title),
        "other budgets": model_of(other, budgets=Budgets(p95_ms=9e9)),
        "another name": model_of(other, name="faces"),
    }
    for counter, (what, model) in enumerate(wrong.items(), 2):
        later(assigned(victim, counter, model), 10 * counter).put(victim.board, request=what)
        victim.refused(MIXED, really=what == "another name")


def test_one_releases_weights_with_anothers_labels_are_no_bundle_of_either(victim: Victim) -> None:
    """A bundle is one digest: the mix has a digest that nobody published, and files that its own manifest denies."""
    seven = make_bundle(victim.fleet.work / "seven", behaviour="good seven")
    six = make_bundle(victim.fleet.work / "six", behaviour="good sixth")
    release = victim.fleet.repository.publish("digits", [seven], force=True)
    entries = {entry.path: entry for entry in seven.manifest.files}
    labels = {entry.path: entry for entry in six.manifest.files}["model.tflite"]
    mixed = replace(
        seven.manifest, files=tuple({**entries, "model.tflite": labels}[name] for name in sorted(entries))
    )
    data = encode(mixed)
    for entry in (*seven.manifest.files, *six.manifest.files):
        source = (seven if entry in seven.manifest.files else six).folder / entry.path
        shutil.copy(source, victim.inbox / "blobs" / entry.sha256)
    books = assigned(victim, 2, model_of(release, bundle=digest(data)))
    books.target(BIN, bundle_target(digest(data)), data)
    books.sign(BIN).put(victim.board, request="mixed manifest")
    victim.refused(MIXED)

    later(assigned(victim, 3, model_of(release)), 5).put(victim.board, request="mixed files")
    shutil.copy(six.folder / "model.tflite", victim.inbox / "blobs" / entries["model.tflite"].sha256)
    report = victim.refused(("artifact.digest-mismatch", "artifact.size-mismatch"), really=True)
    assert "model.tflite" in str(report.message)


# --- wrong software --------------------------------------------------------------------------------------------


def test_a_bundle_for_a_jetson_is_refused_by_a_pi(victim: Victim) -> None:
    release = victim.fleet.publish("good", profile="jetson-orin-nano")
    model = GenerationModel("digits", release.title, release.bundles["jetson-orin-nano"])
    assigned(victim, 2, model).put(victim.board)
    report = victim.refused(WRONG, really=True)
    assert PROFILE in str(report.message)
    assert PROFILE in str(report.hint)


def test_a_bundle_that_only_calls_itself_right_is_judged_by_what_it_is_made_for(victim: Victim) -> None:
    """Published under this board's profile by a mistake, or by a thief of the targets key."""
    changes: dict[str, Callable[[Any], Any]] = {
        "architecture": lambda made: replace(made.requires, architectures=("another",)),
        "engine": lambda made: replace(made.requires, engines={"onnxruntime": "1.0.0"}),
        "engine version": lambda made: replace(made.requires, engines={"litert": "99.0.0"}),
    }
    for counter, (what, change) in enumerate(changes.items(), 2):
        bundle = make_bundle(victim.fleet.work / f"bundle {what}", behaviour=f"good {what}")
        manifest = replace(bundle.manifest, requires=change(bundle.manifest))
        refused_bundle(victim, counter, manifest)
    bundle = make_bundle(victim.fleet.work / "bundle profile", behaviour="good profile")
    refused_bundle(victim, 9, replace(bundle.manifest, profile="jetson-orin-nano"))


def refused_bundle(victim: Victim, counter: int, manifest: Any) -> None:
    data = encode(manifest)
    release = Release("digits", 70 + counter, {PROFILE: digest(data)})
    books = assigned(victim, counter, model_of(release))
    books.target("targets", bundle_target(digest(data)), data)
    books.target("targets", release_target("digits", release.version), encode(release))
    later(books, 10 * counter).sign(BIN, "targets").put(victim.board, request=f"bundle {counter}")
    victim.refused(WRONG)


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("architecture", Platform("riscv64", PYTHON, GLIBC)),
        ("python", Platform(platform.machine(), "3.9", GLIBC)),
        ("glibc", Platform(platform.machine(), PYTHON, "2.99")),
    ],
)
def test_a_runtime_for_another_kind_of_board_is_refused(victim: Victim, what: str, wrong: Platform) -> None:
    fleet = victim.fleet
    data = encode(
        RuntimeManifest(
            platform=wrong, engine=EngineName.LITERT, engine_version="2.3.0", agent_version="0.1.0", contracts=(1,),
            layers=(fleet.agent, fleet.packages),
        )
    )  # fmt: skip
    books = assigned(victim, 2, model_of(victim.release), runtime=digest(data))
    books.target("targets", runtime_target(digest(data)), data)
    books.sign(BIN, "targets").put(victim.board, request=what)
    report = victim.refused(WRONG, really=what == "glibc")
    assert "runtime" in str(report.message)


@pytest.mark.parametrize(
    "changes", [{"device": "d-another"}, {"fleet": "other-abcdef"}], ids=["board", "fleet"]
)
def test_a_document_of_another_board_or_fleet_is_refused(victim: Victim, changes: dict[str, str]) -> None:
    books = victim.pushed(2)
    books.assign(victim.same(2, **changes))
    books.sign(BIN).put(victim.board)
    report = victim.refused(DOUBTED, really=True)
    assert next(iter(changes.values())) in str(report.message)


def test_a_push_of_another_fleet_is_refused_whole(victim: Victim) -> None:
    """Every key another: what a laptop of another fleet pushes by a mistake."""
    books = victim.pushed(2)
    books.rotate("root", "targets", "snapshot", "timestamp", DESIRED_ROLE)
    with books.next_root():
        pass
    books.roots = [books.roots[-1]]
    books.roots[0].signed.version = 1
    books.roots[0].signatures.clear()
    books.roots[0].sign(books.keys["root"][0])
    books.sign(*LEAF_FIRST).put(victim.board)
    victim.refused(DOUBTED, really=True)


# --- partial bundle --------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_a_bundle_of_which_one_file_is_withheld_leaves_nothing_and_the_next_push_completes_it(
    victim: Victim,
) -> None:
    release = victim.better
    victim.fleet.repository.assign(victim.fleet.desired(2, release))
    blobs = sorted(blob for blob in victim.fleet.repository.push_set(victim.board.report.device).blobs)
    runtime = {victim.fleet.agent.sha256, victim.fleet.packages.sha256}
    files = [blob for blob in blobs if blob not in runtime]
    assert len(files) == 3
    for number, (blob, withhold) in enumerate(zip(files, (Path.unlink, cut, cut), strict=True)):
        victim.board.push(f"without {number}")
        withhold(victim.inbox / "blobs" / blob)
        report = victim.refused("update.inbox-incomplete", really=number == 0)
        assert "digits/" in str(report.message)
    victim.board.supervise()
    try:
        assert victim.board.push_and_wait().counter == 2
        assert victim.board.served()["releases"] == [release.title]
    finally:
        victim.board.stop()


def test_a_manifest_without_one_of_its_files_is_another_bundle(victim: Victim) -> None:
    bundle = make_bundle(victim.fleet.work / "whole", behaviour="good whole")
    release = victim.fleet.repository.publish("digits", [bundle], force=True)
    entries: tuple[FileEntry, ...] = tuple(e for e in bundle.manifest.files if e.path != "report.json")
    assert len(entries) == 2
    books = assigned(victim, 2, model_of(release))
    (name,) = (victim.inbox / "targets/bundles").glob(f"*.{bundle.digest}.json")
    data = name.read_bytes()
    start = (
        data.index(b'"report.json","sha256"')
        if b'"report.json","sha256"' in data
        else data.index(b"report.json")
    )
    name.write_bytes(data[:start] + b"omitted.json" + data[start + 11 :])
    books.put(victim.board)
    victim.refused(DOUBTED)
