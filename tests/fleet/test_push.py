from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.errors import ConnectionLost, DocumentInvalid
from edge.fleet.push import push
from edge.repository.pushset import PushSet
from tests.beds.link import Link
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import Open, inbox_files

LAYER, MODEL = os.urandom(6_000_000), os.urandom(3_000_000)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


RUNTIME = json.dumps(
    {"schema": "edge.runtime/1", "layers": [{"sha256": sha(LAYER), "unpacked_bytes": len(LAYER)}]}
).encode()
BUNDLE = json.dumps(
    {"schema": "edge.bundle/1", "files": [{"sha256": sha(MODEL), "size_bytes": len(MODEL)}]}
).encode()


@pytest.fixture(scope="module")
def push_set(tmp_path_factory: pytest.TempPathFactory) -> PushSet:
    folder = tmp_path_factory.mktemp("set")

    def file(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return PushSet(
        metadata={
            "1.root.json": file("root", b'{"root": 1}'),
            "timestamp.json": file("time", b'{"time": 1}'),
        },
        targets={
            f"runtimes/{sha(RUNTIME)}.{sha(RUNTIME)}.json": file("runtime", RUNTIME),
            f"bundles/{sha(BUNDLE)}.{sha(BUNDLE)}.json": file("bundle", BUNDLE),
        },
        blobs={sha(LAYER): file("layer", LAYER), sha(MODEL): file("model", MODEL)},
    )


@pytest.fixture
def root(bed: SshdBoard, open_board: Open) -> Iterator[Path]:
    open_board().run(["mkdir", "-p", ".edge/inbox", ".edge/objects"])
    yield bed.home / ".edge"
    open_board().run(["rm", "-rf", ".edge"])


def test_everything_lies_there_with_the_request(open_board: Open, root: Path, push_set: PushSet) -> None:
    push(open_board(), "~/.edge", push_set, request="nonce-1")
    files = inbox_files(root / "inbox")
    expected = {f"blobs/{digest}" for digest in push_set.blobs} | {"request"}
    expected |= {f"metadata/{name}" for name in push_set.metadata}
    expected |= {f"targets/{name}" for name in push_set.targets}
    assert set(files) == expected
    assert (root / "inbox" / "request").read_text() == "nonce-1"
    assert (root / "inbox" / "metadata" / "timestamp.json").read_bytes() == b'{"time": 1}'


def test_what_the_board_has_unpacked_is_not_sent(open_board: Open, root: Path, push_set: PushSet) -> None:
    open_board().run(["mkdir", f".edge/objects/{sha(LAYER)}", f".edge/objects/{sha(BUNDLE)}"])
    sent = push(open_board(), "~/.edge", push_set, request="nonce-2")
    assert set(sent.there) == {f"blobs/{digest}" for digest in push_set.blobs}
    assert sent.sent_bytes < 2000


def test_a_push_that_is_cut_anywhere_leaves_no_request_and_the_next_goes_on(
    open_board: Open, link: Link, root: Path, push_set: PushSet
) -> None:
    for after in (100_000, 4_000_000):
        link.cut_after(after)
        with pytest.raises(ConnectionLost):
            push(open_board(port=link.port), "~/.edge", push_set, request="nonce-3")
        assert "request" not in inbox_files(root / "inbox")
    sent = push(open_board(port=link.port), "~/.edge", push_set, request="nonce-3")
    assert sent.resumed_bytes > 0
    assert (root / "inbox" / "request").read_text() == "nonce-3"


def test_a_target_that_is_no_document_is_refused_here(open_board: Open, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{")
    broken = PushSet(metadata={}, targets={"bundles/x.json": tmp_path / "x"}, blobs={})
    with pytest.raises(DocumentInvalid):
        push(open_board(), "~/.edge", broken, request="nonce")
