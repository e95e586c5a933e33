"""Signed metadata of any shape: never believed, never a library's exception, always one of our codes."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata

from agent.contract.codec import encode
from agent.contract.errors import EdgeError, SignatureInvalid, concrete_errors
from agent.contract.targets import DESIRED_ROLE, desired_target
from agent.update.clock import Clock
from agent.update.files import DISK
from agent.update.inbox import Inbox
from agent.update.verify import Verified, Verifier
from tests.attacks.stolen import BIN, ROLES, Books
from tests.attacks.victims import Victim
from tests.update.world import DEVICE

CODES = {kind.code for kind in concrete_errors()}
NEVER = {"update.state-damaged"}
"""Codes that speak of the board's own files: nothing in an inbox may be taken for their fault."""


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, 10**400, -(10**400), 1e308, -0.0]),
    st.text(max_size=8),
    st.sampled_from(
        ["", "\0", "root", "../../evil", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "A" * 9000]
    ),
    st.sampled_from([[], {}, [[]], {"": {}}, {"a": {"a": {"a": []}}}]),
    st.builds(nested, st.sampled_from([40, 300, 900])),
)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, list[int], Any, str]:
    """What is done, at which node (by numbers that choose the way), with which value or name."""
    return (
        draw(st.sampled_from(["drop", "replace", "retag", "add", "twice", "copy"])),
        draw(st.lists(st.integers(0, 40), min_size=1, max_size=7)),
        draw(VALUES),
        draw(
            st.sampled_from(
                ["", "signed", "version", "expires", "keyid", "_type", "x", "meta", "keys", "roles"]
            )
        ),
    )


def mutated(document: Any, mutation: tuple[str, list[int], Any, str]) -> Any:
    """A JSON document with one node changed."""
    what, way, value, name = mutation
    found = copy.deepcopy(document)
    node = found
    for step in way:
        inner = list(node) if isinstance(node, dict) else range(len(node))
        key = inner[step % len(inner)]
        if step == way[-1] or not isinstance(node[key], (dict, list)) or not node[key]:
            break
        node = node[key]
    if what == "drop":
        del node[key]
    elif what == "replace":
        node[key] = value
    elif what == "copy":
        node[key] = document
    elif isinstance(node, list):
        node.append(node[key] if what == "twice" else value)
    elif what == "retag":
        node[name] = node.pop(key)
    else:
        node[name] = value if what == "add" else node[key]
    return found


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


def signed_again(document: Any, books: Books, role: str) -> Any:
    """Signed by the role's own, stolen key, where what it has become can be signed at all."""
    try:
        data = encode_canonical(document["signed"]).encode()
        signature = books.signers(role)[0].sign(data).to_dict()
        return {**document, "signatures": [signature]}
    except Exception:
        return document


class Target:
    """A board's verifier, with a state that each example begins with anew."""

    def __init__(self, victim: Victim) -> None:
        self.victim = victim
        self.kept = victim.board.root / "kept"
        shutil.copytree(victim.board.root / "state/tuf", self.kept, symlinks=True)
        self.books = victim.pushed(2)
        with self.books.next_root():
            pass
        self.books.sign(BIN, DESIRED_ROLE, "targets")
        self.changing = {role: self.books.of[role].to_bytes() for role in (BIN, "snapshot", "timestamp")}

    def fresh(self) -> Books:
        """The books anew, as far as an example changes them."""
        changing = {role: Metadata[Any].from_bytes(data) for role, data in self.changing.items()}
        documents = dict(self.books.documents)
        return replace(self.books, of={**self.books.of, **changing}, unlike={}, documents=documents)

    def look(self, books: Books) -> Verified | EdgeError:
        """What the update process makes of books in the inbox."""
        root = self.victim.board.root
        shutil.rmtree(root / "state/tuf")
        shutil.copytree(self.kept, root / "state/tuf", symlinks=True)
        shutil.rmtree(root / "inbox/metadata", ignore_errors=True)
        books.put(self.victim.board)
        try:
            return self.verified(root)
        except EdgeError as error:
            refusal = error
        assert refusal.code in CODES - NEVER
        assert str(refusal)
        assert refusal.hint
        return refusal

    def verified(self, root: Path) -> Verified:
        verifier = Verifier(
            folder=root / "state/tuf", inbox=Inbox(root / "inbox"), bootstrap=(root / "root.json").read_bytes(),
            clock=Clock(), files=DISK,
        )  # fmt: skip
        return verifier.desired(fleet=self.victim.fleet.folder.config.fleet, device=DEVICE)

    def believes_nothing_else(self, role: str, mutation: Any) -> None:
        """That unsigned, a change is refused, unless what is signed is still the same."""
        books = self.fresh()
        true = json.loads((books.roots[-1] if role == "root" else books.of[role]).to_bytes())
        false = mutated(true, mutation)
        books.unlike[role] = written(false)
        if isinstance(self.look(books), Verified):
            assert role in ("root", "timestamp"), "the bytes of all others are signed for"
            assert isinstance(false, dict)
            assert Metadata[Any].from_dict(false).signed_bytes == Metadata[Any].from_dict(true).signed_bytes

    def survives(self, role: str, mutation: Any) -> None:
        """That whatever the right key signed ends in a word of ours."""
        books = self.fresh()
        metadata: Metadata[Any] = books.roots[-1] if role == "root" else books.of[role]
        true = json.loads(metadata.to_bytes())
        false = mutated(true["signed"], mutation)
        books.unlike[role] = written(signed_again({**true, "signed": false}, books, role))
        books.vouch(role)
        self.look(books)

    def survives_document(self, mutation: Any) -> None:
        """The same of the desired state itself."""
        books = self.fresh()
        books.target(
            BIN, desired_target(DEVICE), written(mutated(json.loads(encode(self.victim.same(2))), mutation))
        )
        books.sign(BIN)
        self.look(books)


PHASES = (Phase.generate, Phase.shrink)
FEW = settings(max_examples=12, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=3000)


@pytest.fixture(scope="module")
def target(flashed_once: Victim, tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(flashed_once.copied(tmp_path_factory.mktemp("fuzz")))


@pytest.mark.parametrize("role", ROLES)
def test_metadata_that_were_changed_are_never_believed(target: Target, role: str) -> None:
    FEW(given(mutations())(lambda mutation: target.believes_nothing_else(role, mutation)))()


@pytest.mark.parametrize("role", [*ROLES, "desired state"])
def test_whatever_a_stolen_key_signed_ends_in_a_code_of_ours(target: Target, role: str) -> None:
    survives = (
        target.survives_document if role == "desired state" else lambda change: target.survives(role, change)
    )
    FEW(given(mutations())(survives))()


def test_a_key_that_is_named_by_no_text_is_refused_whoever_signed_it(target: Target) -> None:
    books = target.fresh()
    stolen = json.loads(books.of["targets"].to_bytes())
    roles = stolen["signed"]["delegations"]["roles"]
    next(role for role in roles if role["name"] == DESIRED_ROLE)["keyids"].append(None)
    books.unlike["targets"] = written(signed_again(stolen, books, "targets"))
    books.vouch("targets")
    refusal = target.look(books)
    assert isinstance(refusal, SignatureInvalid)
    assert "not by a text" in str(refusal)


@pytest.mark.bed
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("role", ROLES)
def test_metadata_that_were_changed_in_many_ways_are_never_believed(target: Target, role: str) -> None:
    def both(mutation: Any) -> None:
        target.believes_nothing_else(role, mutation)
        target.survives(role, mutation)
        target.survives_document(mutation)

    MANY(given(mutations())(both))()


NO_METADATA = (
    b"", b"\xff\xfe", b"null", b"[" * 400_000, b'{"signed":' * 40_000, b"1" * 5_000, b'{"a":1,"a":2}',
)  # fmt: skip


@pytest.mark.parametrize("data", NO_METADATA, ids=range(len(NO_METADATA)))
def test_what_is_no_metadata_at_all_ends_in_a_code_of_ours(target: Target, data: bytes) -> None:
    for role in ROLES:
        books = target.fresh()
        books.unlike[role] = data
        books.vouch(role)
        error = target.look(books)
        assert isinstance(error, EdgeError)
        assert error.code == "artifact.signature-invalid"


def test_the_private_names_of_python_tuf_that_the_board_relies_on_are_there() -> None:
    """They are no promise of the library: an upgrade that renames one must fail here and not on a board."""
    from tuf.ngclient import Updater

    for name in (
        "_persist_file",
        "_update_root_symlink",
        "_load_root",
        "_load_timestamp",
        "_load_local_metadata",
    ):
        assert callable(getattr(Updater, name))
    assert {"_trusted_set", "_dir"} <= set(Updater.__init__.__code__.co_names)
    assert Path(Updater.__init__.__code__.co_filename).name == "updater.py"
