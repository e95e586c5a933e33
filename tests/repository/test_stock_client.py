"""A repository that edge makes is read and verified by python-tuf as it is."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Targets

from agent.contract.targets import DESIRED_BITS, desired_target, release_target
from edge.repository import Repository
from edge.repository.roles import Roles, target_file
from tests.repository.board import Board
from tests.repository.fleet import Fleet, passphrase


@pytest.fixture
def board(fleet: Fleet, tmp_path: Path) -> Board:
    state = fleet.desired("b-1")
    fleet.repository.assign(state)
    board = Board(tmp_path / "board", "b-1")
    board.receive(fleet.repository.push_set("b-1"))
    return board


@pytest.fixture
def web(fleet: Fleet) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(fleet.folder.repository))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_push_holds_all_that_a_board_needs(fleet: Fleet, board: Board) -> None:
    assert board.apply() == fleet.repository.desired("b-1")


def test_a_push_holds_one_bin_of_many(board: Board) -> None:
    names = {path.name.split(".", 1)[-1] for path in (board.folder / "inbox/metadata").iterdir()}
    bins = {name for name in names if name.startswith("desired-bin-")}
    assert len(bins) == 1 < 2**DESIRED_BITS
    assert names - bins == {"root.json", "json", "snapshot.json", "targets.json", "desired.json"}


def test_the_same_files_serve_over_http(fleet: Fleet, board: Board, web: str) -> None:
    assert board.apply(web) == fleet.repository.desired("b-1")


def test_every_board_of_many_finds_its_own_state(fleet: Fleet, tmp_path: Path, web: str) -> None:
    devices = [f"b-{number}" for number in range(40)]
    fleet.repository.assign(*(fleet.desired(device) for device in devices))
    for device in devices:
        board = Board(tmp_path / device, device)
        board.receive(fleet.repository.push_set(device))
        assert board.apply().device == device


def test_a_board_that_was_pushed_to_before_takes_the_next_push(fleet: Fleet, board: Board) -> None:
    board.apply()
    second = fleet.repository.publish("digits", [fleet.bundle("two", weights=b"better")])
    fleet.repository.assign(fleet.desired("b-2"), fleet.desired("b-1", 2, second))
    board.receive(fleet.repository.push_set("b-1"))
    assert board.apply().generation.title == "digits@2"


def test_another_boards_document_is_not_in_a_push(fleet: Fleet, board: Board) -> None:
    fleet.repository.assign(fleet.desired("b-2"))
    board.receive(fleet.repository.push_set("b-1"))
    assert not list((board.folder / "inbox/targets/desired").glob("*.b-2.json"))


@pytest.mark.parametrize("role", ["1.root", "timestamp", "snapshot", "targets", "desired", "desired-bin"])
def test_a_flipped_byte_in_any_metadata_is_refused(board: Board, role: str) -> None:
    root = board.folder / "root.json"
    root.write_bytes((board.folder / "inbox/metadata/1.root.json").read_bytes())
    pattern = {"timestamp": "timestamp.json", "1.root": "1.root.json", "desired-bin": "*.desired-bin-*.json"}
    (path,) = (board.folder / "inbox/metadata").glob(pattern.get(role, f"*.{role}.json"))
    data = path.read_bytes()
    for position in range(0, len(data), max(1, len(data) // 24)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        if role == "1.root":
            root.write_bytes(path.read_bytes())
        shutil.rmtree(board.folder / "cache")
        (board.folder / "cache").mkdir()
        with pytest.raises((RepositoryError, DownloadHTTPError)):
            board.apply()


def test_a_flipped_byte_in_any_manifest_is_refused(board: Board) -> None:
    for path in (board.folder / "inbox/targets").rglob("*.json"):
        if "releases" in path.parts:
            continue
        data = path.read_bytes()
        path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        with pytest.raises(RepositoryError):
            board.apply()
        path.write_bytes(data)
    board.apply()


@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json"])
def test_an_older_file_replayed_is_refused(fleet: Fleet, board: Board, name: str) -> None:
    inbox = board.folder / "inbox/metadata"
    (old,) = inbox.glob(f"*{name}")
    replayed = old.read_bytes()
    fleet.repository.assign(fleet.desired("b-1", 2))
    board.receive(fleet.repository.push_set("b-1"))
    assert board.apply().counter == 2
    fleet.repository.assign(fleet.desired("b-1", 3))
    board.receive(fleet.repository.push_set("b-1"))
    newest = max(
        inbox.glob(f"*{name}"),
        key=lambda path: int(path.name.partition(".")[0]) if path.name[0].isdigit() else 0,
    )
    newest.write_bytes(replayed)
    with pytest.raises(RepositoryError):
        board.apply()


def test_a_missing_bin_is_refused(board: Board) -> None:
    (path,) = (board.folder / "inbox/metadata").glob("*.desired-bin-*.json")
    path.unlink()
    with pytest.raises(DownloadHTTPError):
        board.apply()


def test_what_expired_is_refused(fleet: Fleet, board: Board) -> None:
    past = Repository(fleet.folder.repository, fleet.keys, passphrase, clock=lambda: 1_500_000_000.0)
    past.refresh(force=True)
    board.receive(past.push_set("b-1"))
    with pytest.raises(ExpiredMetadataError):
        board.apply()


def test_a_refresh_brings_back_what_expired(fleet: Fleet, board: Board) -> None:
    past = Repository(fleet.folder.repository, fleet.keys, passphrase, clock=lambda: 1_500_000_000.0)
    past.assign(fleet.desired("b-1", 2))
    assert "timestamp" in fleet.repository.refresh()
    board.receive(fleet.repository.push_set("b-1"))
    assert board.apply().counter == 2


def forge(fleet: Fleet, change: str, path: str) -> None:
    """With the keys of mode 0600 alone: let a role of desired states name a target that is none of its own."""
    metadata = fleet.folder.repository / "metadata"
    roles = Roles.load(metadata, fleet.keys)
    role = roles.bin_of(path) if change == "bin" else "desired"
    data = b'{"evil": true}'
    roles.bin(role).targets[path] = target_file(path, data)
    stored = fleet.folder.repository / "targets" / path
    sha256 = target_file(path, data).hashes["sha256"]
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.with_name(f"{sha256}.{stored.name}").write_bytes(data)
    roles.commit([role], fleet.keys.signers, datetime.now(UTC))


@pytest.mark.parametrize("role", ["bin", "desired"])
@pytest.mark.parametrize(
    "path", ["bundles/" + "0" * 64 + ".json", "runtimes/evil.json", "releases/digits/9.json"]
)
def test_the_desired_key_speaks_for_desired_states_only(
    fleet: Fleet, board: Board, web: str, role: str, path: str
) -> None:
    forge(fleet, role, path)
    updater = board.updater(web)
    updater.refresh()
    assert updater.get_targetinfo(path) is None
    assert updater.get_targetinfo(release_target("digits", 1)) is not None


def test_the_desired_key_speaks_for_desired_states(fleet: Fleet, board: Board, web: str) -> None:
    """The same forgery with a path of its own goes through: what is refused above is refused for its path."""
    forge(fleet, "bin", "desired/forged.json")
    assert board.updater(web).get_targetinfo("desired/forged.json") is not None


def test_a_bin_signed_by_another_key_is_refused(fleet: Fleet, board: Board) -> None:
    (path,) = (board.folder / "inbox/metadata").glob("*.desired-bin-*.json")
    metadata = Metadata[Targets].from_bytes(path.read_bytes())
    metadata.signed.targets.pop(desired_target("b-1"))
    metadata.sign(fleet.keys.signer("snapshot"))
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(RepositoryError):
        board.apply()
