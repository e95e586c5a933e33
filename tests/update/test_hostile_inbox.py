"""What a pushing user, or somebody with some of the fleet's keys, may put into the inbox, and what comes of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.contract.codec import encode
from agent.contract.names import check_digest
from agent.contract.release import Budgets, DesiredState, Generation, GenerationModel
from agent.contract.targets import bundle_target, desired_target
from agent.update import commands
from edge.repository import Repository
from edge.repository.roles import target_file
from tests.update.bundles import PROFILE, make_bundle
from tests.update.world import DEVICE, Board, Fleet, Quiet, passphrase

YEAR_S = 365 * 86_400


pytestmark = pytest.mark.usefixtures("simulated")


def apply(board: Board) -> tuple[int, str | None]:
    """Exit code and reported code of the real update process, here in this process."""
    code = commands.apply(board.root, service=Quiet())
    return code, board.report.code


def untouched(board: Board) -> bool:
    return not list((board.root / "generations").iterdir()) and board.link("current") is None


def kinds(board: Board) -> dict[str, Path]:
    """One file of every kind that a push brings."""
    inbox = board.root / "inbox"
    found = {}
    for name, pattern in {
        "timestamp": "metadata/timestamp.json", "snapshot": "metadata/*.snapshot.json",
        "targets": "metadata/*.targets.json", "desired": "metadata/*.desired.json",
        "bin": "metadata/*.desired-bin-*.json", "desired state": "targets/desired/*.json",
        "runtime": "targets/runtimes/*.json", "bundle": "targets/bundles/*.json",
        "release": "targets/releases/digits/*.json", "blob": "blobs/*",
    }.items():  # fmt: skip
        found[name] = sorted(inbox.glob(pattern))[0]
    return found


@pytest.fixture
def pushed(bare: Board) -> Board:
    bare.assign(1, bare.fleet.publish("good"))
    bare.push()
    return bare


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def nested(path: Path) -> None:
    path.write_bytes(b"[" * 10_000)


@pytest.mark.parametrize("harm", [flip, link, pipe, folder, endless, empty, missing, nested])
def test_a_file_that_was_tampered_with_is_refused_and_the_next_push_goes_through(
    pushed: Board, harm: Callable[[Path], None]
) -> None:
    for kind in kinds(pushed):
        pushed.push()
        path = kinds(pushed)[kind]
        harm(path)
        exit_code, code = apply(pushed)
        assert exit_code in (3, 4), (kind, pushed.report.message)
        expected = {missing: "update.inbox-incomplete", link: "update.inbox-unsafe", pipe: "update.inbox-unsafe",
                    folder: "update.inbox-unsafe"}.get(harm)  # fmt: skip
        assert expected in (None, code), (kind, pushed.report.message)
        assert (exit_code == 4) == (code == "update.inbox-incomplete"), (kind, code)
        assert untouched(pushed), kind
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if harm is flip:
        pushed.supervise()
        assert pushed.push_and_wait().state.value == "confirmed"


def test_folders_of_the_inbox_that_are_links_are_not_followed(pushed: Board) -> None:
    for name in ("metadata", "targets", "blobs"):
        inner = pushed.root / "inbox" / name
        inner.rename(pushed.root / f"moved-{name}")
        inner.symlink_to(pushed.root / f"moved-{name}")
        assert apply(pushed) == (3, "update.inbox-unsafe")
        assert untouched(pushed)
        inner.unlink()
        (pushed.root / f"moved-{name}").rename(inner)
        pushed.push()


def test_an_older_desired_state_that_was_signed_once_is_not_taken_again(flashed: Board) -> None:
    first = flashed.fleet.repository.release("digits@1")
    shutil.copytree(flashed.root / "inbox", flashed.root / "kept")
    flashed.flash(2, flashed.fleet.publish("good two"))
    flashed.stop()
    shutil.rmtree(flashed.root / "inbox")
    shutil.copytree(flashed.root / "kept", flashed.root / "inbox")
    (flashed.root / "inbox/request").write_text("replay")
    assert apply(flashed) == (3, "artifact.replay-refused")
    assert flashed.link("current") == 2
    assert first.title not in flashed.report.history[0].title


def test_another_desired_state_with_the_same_counter_is_refused(flashed: Board) -> None:
    flashed.flash(2, flashed.fleet.publish("good"))
    flashed.stop()
    state = replace(flashed.fleet.desired(2), nonce="f" * 32)
    sign_desired(flashed.fleet, desired_target(DEVICE), encode(state), flashed)
    assert apply(flashed) == (3, "artifact.replay-refused")


def sign_desired(fleet: Fleet, path: str, data: bytes, board: Board) -> None:
    """What somebody can do who has the keys of desired states, snapshot and timestamp."""
    repository = fleet.repository
    roles = repository._load()
    target = target_file(path, data)
    for name in {roles.bin_of(path), roles.bin_of(desired_target(DEVICE))}:
        roles.bin(name).targets[path] = target
        roles.commit({name}, repository._sign, datetime.now(UTC))
        roles = repository._load()
    shutil.copytree(fleet.folder.repository / "targets", board.root / "inbox/targets", dirs_exist_ok=True)
    for name, file in roles.files(["targets", "desired", roles.bin_of(desired_target(DEVICE))]).items():
        shutil.copyfile(file, board.root / "inbox/metadata" / name)
    head, _, tail = path.rpartition("/")
    place = board.root / "inbox/targets" / head / f"{target.hashes['sha256']}.{tail}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    (board.root / "inbox/request").write_text("forged")


@pytest.mark.parametrize(
    "changes", [{"device": "d-another"}, {"fleet": "other-abcdef"}], ids=["another device", "another fleet"]
)
def test_a_desired_state_of_somebody_else_is_refused(bare: Board, changes: dict[str, str]) -> None:
    state = replace(bare.fleet.desired(1), **changes)
    sign_desired(bare.fleet, desired_target(DEVICE), encode(state), bare)
    assert apply(bare) == (3, "artifact.signature-invalid")
    assert untouched(bare)


def test_the_key_of_desired_states_can_sign_no_bundle(pushed: Board) -> None:
    forged = make_bundle(pushed.fleet.work / "forged", behaviour="good but never published")
    released = pushed.fleet.repository.release("digits@1")
    sign_desired(
        pushed.fleet, bundle_target(check_digest(forged.digest, what="bundle")), forged.manifest_bytes, pushed
    )
    models = (GenerationModel("digits", released.title, forged.digest),)
    state = replace(pushed.fleet.desired(2), generation=Generation(2, pushed.fleet.runtime, models))
    sign_desired(pushed.fleet, desired_target(DEVICE), encode(state), pushed)
    exit_code, code = apply(pushed)
    assert (exit_code, code) == (3, "artifact.release-mixed")
    assert untouched(pushed)


def test_the_key_of_desired_states_can_sign_no_runtime(pushed: Board) -> None:
    runtime, data = pushed.fleet.blobs.runtime(pushed.fleet.agent)
    sign_desired(pushed.fleet, f"runtimes/{runtime}.json", data, pushed)
    state = pushed.fleet.desired(2, runtime=runtime)
    sign_desired(pushed.fleet, desired_target(DEVICE), encode(state), pushed)
    assert apply(pushed) == (3, "artifact.signature-invalid")
    assert "runtimes/" in (pushed.report.message or "")
    assert untouched(pushed)


def test_a_bundle_under_the_name_or_budgets_of_another_release_is_refused(bare: Board) -> None:
    one, two = bare.fleet.publish("good one"), bare.fleet.publish("good two")
    bundle = two.bundles[PROFILE]
    for counter, model in enumerate(
        [
            GenerationModel("digits", one.title, bundle),
            GenerationModel("digits", two.title, bundle, budgets=Budgets(9.0)),
        ],
        1,
    ):
        state = bare.fleet.desired(counter)
        state = replace(state, generation=replace(state.generation, models=(model,)))
        sign_desired(bare.fleet, desired_target(DEVICE), encode(state), bare)
        assert apply(bare) == (3, "artifact.release-mixed"), bare.report.message
        assert untouched(bare)


def test_a_bundle_for_another_kind_of_board_is_refused(bare: Board) -> None:
    bare.assign(1, bare.fleet.publish("good", profile="jetson-orin-nano"))
    bare.push()
    assert apply(bare) == (3, "artifact.wrong-board")
    assert untouched(bare)


def old_repository(fleet: Fleet, *, years: float) -> Repository:
    def clock() -> float:
        return time.time() - years * YEAR_S

    return Repository(fleet.folder.repository, fleet.keys, passphrase, clock=clock)


def test_expired_metadata_start_no_update_and_serving_goes_on(flashed: Board) -> None:
    served = flashed.served()
    repository = old_repository(flashed.fleet, years=1.5)
    state = replace(flashed.fleet.desired(2, flashed.fleet.repository.release("digits@1")), not_before=0)
    repository.assign(state)
    report = flashed.push_and_wait()
    assert (report.code, report.state.value, report.counter) == ("artifact.metadata-expired", "confirmed", 1)
    assert flashed.served() == served
    repository = Repository(flashed.fleet.folder.repository, flashed.fleet.keys, passphrase)
    repository.refresh(force=True)
    repository.assign(
        replace(state, counter=3, generation=replace(state.generation, number=3), nonce="a" * 32)
    )
    assert flashed.push_and_wait().counter == 3


def test_time_that_a_desired_state_was_made_after_its_metadata_expired_is_refused(bare: Board) -> None:
    state: DesiredState = bare.fleet.desired(
        1, bare.fleet.publish("good"), not_before=int(time.time() + 2 * YEAR_S)
    )
    bare.fleet.repository.assign(state)
    bare.push()
    assert apply(bare) == (3, "artifact.metadata-expired")
    assert json.loads((bare.root / "state/update.json").read_bytes())["clock_floor"] < time.time() + YEAR_S
