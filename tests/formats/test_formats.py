"""What earlier versions wrote is read by this one, and this one still writes the same."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.contract.board import BoardConfig
from agent.contract.codec import decode, encode
from agent.contract.messages import Reported, Signed
from agent.contract.release import Generation
from agent.contract.states import UpdateState
from agent.update.clock import Clock
from agent.update.files import DISK
from agent.update.folder import UpdateFolder
from agent.update.inbox import Inbox
from agent.update.record import UpdateRecord, load
from agent.update.verify import Verifier
from edge.bundle import open_bundle
from edge.config import FleetFolder
from edge.identity import KeyRing, verify_signed
from edge.repository import Repository
from tests.contract.test_golden import within
from tests.formats.write import FORMATS, write_repository

VERSIONS = sorted(path.name for path in FORMATS.iterdir() if path.is_dir())


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a version wrote."""
    copy = tmp_path / "old"
    shutil.copytree(FORMATS / request.param, copy, symlinks=True)
    return copy


def written(old: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((old / "written.json").read_text())
    return facts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("board.json", BoardConfig),
        ("generations/1/generation.json", Generation),
        ("state/update.json", UpdateRecord),
        ("state/reported.json", Signed),
    ],
)
def test_a_boards_documents_are_read_and_nothing_of_them_is_lost(old: Path, name: str, kind: type) -> None:
    stored = (old / "board" / name).read_bytes()
    document: Any = decode(kind, stored)
    assert within(json.loads(stored), json.loads(encode(document)))
    assert list(strangers(document)) == [], "a field that was renamed is kept, and means nothing"


def test_a_boards_record_is_loaded_and_its_report_believed(old: Path) -> None:
    record = load(UpdateFolder(old / "board"))
    assert (record.state, record.current, record.counter) == (UpdateState.REFUSED, 1, 2)
    assert record.known_bad(record.desired) if record.desired else False
    envelope = decode(Signed, (old / "board/state/reported.json").read_bytes())
    assert verify_signed(envelope, (old / "board/state/device.pub").read_text().strip())
    reported = decode(Reported, envelope.payload.encode())
    assert within(json.loads(envelope.payload), json.loads(encode(reported)))
    assert list(strangers(reported)) == []
    assert reported.history[0].checks[0].code == reported.code
    assert {role.role for role in reported.trust} >= {"root", "timestamp", "snapshot", "targets", "desired"}


def test_a_bundle_is_opened_and_whole(old: Path) -> None:
    assert open_bundle(old / "bundle").manifest.model == "digits"


def test_a_fleet_folder_is_opened_and_its_repository_verified(old: Path) -> None:
    facts = written(old)
    folder = FleetFolder.open(old / "fleet")
    repository = Repository.open(folder.repository, KeyRing(folder.keys))
    assert [release.title for release in repository.releases()] == ["digits@1"]
    assert repository.runtime(facts["runtime"]).agent_version
    state = repository.desired(facts["device"])
    assert state is not None
    assert (state.fleet, state.counter) == (facts["fleet"], 1)
    assert repository.push_set(facts["device"]).blobs


def test_a_board_verifies_a_push_down_to_the_last_manifest(old: Path) -> None:
    facts = written(old)
    verifier = Verifier(
        folder=old / "trusted", inbox=Inbox(old / "inbox"), files=DISK,
        bootstrap=(old / "inbox/metadata/1.root.json").read_bytes(), clock=Clock(system=lambda: facts["at"]),
    )  # fmt: skip
    desired = verifier.desired(fleet=facts["fleet"], device=facts["device"]).desired
    (model,) = desired.generation.models
    _, runtime = verifier.runtime(desired.generation.runtime)
    _, manifest = verifier.bundle(model.bundle)
    release = verifier.release(model.release)
    assert model.bundle in release.bundles.values()
    assert [name for one in (desired, runtime, manifest, release) for name in strangers(one)] == []
    assert (manifest.model, len(runtime.layers)) == ("digits", 3)


def test_a_board_goes_on_with_the_metadata_that_it_trusted(old: Path) -> None:
    board = UpdateFolder(old / "board")
    before = (board.tuf_metadata / "timestamp.json").read_bytes()
    Verifier(
        folder=board.tuf_metadata, inbox=Inbox(old / "inbox"), files=DISK, clock=Clock(),
        bootstrap=board.tuf_root.read_bytes(),
    )  # fmt: skip
    assert (board.tuf_metadata / "timestamp.json").read_bytes() == before


def test_this_version_still_writes_what_it_wrote_first(tmp_path: Path) -> None:
    """Files by the same kind of name, documents with the same fields; more fields may come, none may go."""
    write_repository(tmp_path / "new", tmp_path / "work")
    new = shapes(tmp_path / "new")
    for name, shape in shapes(FORMATS / VERSIONS[-1]).items():
        if not name.startswith("board/"):
            assert name in new
            assert within(shape, new[name]), name


def strangers(document: Any) -> Iterator[str]:
    """Fields, at any depth, that this version does not know."""
    if dataclasses.is_dataclass(document):
        yield from getattr(document, "extra", {})
        for field in dataclasses.fields(document):
            yield from strangers(getattr(document, field.name))
    elif isinstance(document, tuple):
        for item in document:
            yield from strangers(item)


def shapes(folder: Path) -> dict[str, Any]:
    """Of each JSON document, by its path with digests and bins made alike: its fields and their types."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        parts = path.relative_to(folder).as_posix().split("/")
        name = "/".join(alike(part) for part in parts)
        found[name] = shape(json.loads(path.read_bytes()))
    return found


def alike(name: str) -> str:
    return ".".join(
        "hex" if len(word) == 64 else "bin" if word.startswith("desired-") else word
        for word in name.split(".")
    )


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {alike(key): shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
