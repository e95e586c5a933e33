"""`edge key`: what it shows, what it changes, what it refuses, and that no private half is ever seen."""

from __future__ import annotations

import datetime
import json
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.cli.expiry import days_left, expiring
from edge.config import FleetFolder
from edge.identity import KeyRing, SshKey, keyfile
from edge.repository import Repository
from tests.cli.conftest import PASSPHRASE, Edge, Ended
from tests.cli.terminal import at_terminal
from tests.repository.fleet import make_bundle, quick_keys

EDGE = str(Path(sys.executable).with_name("edge"))
ROLES = ("root", "targets", "desired", "snapshot", "timestamp")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetFolder]:
    """A fleet whose passphrases are guessed quickly: none of these tests is about that."""
    with quick_keys():
        folder = FleetFolder.create(tmp_path_factory.mktemp("fleet") / "f", "kitchen")
        keys = KeyRing(folder.keys)
        keys.create(lambda _: PASSPHRASE)
        _ = SshKey(folder.keys).current
        Repository.create(folder.repository, keys, lambda _: PASSPHRASE)
        yield folder


@pytest.fixture
def fleet(made_once: FleetFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once.path, tmp_path / "fleet"))


@pytest.fixture
def key(edge: Edge, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """Runs `edge key ARGUMENTS` in the fleet's folder, with the passphrase in the environment."""
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", PASSPHRASE)
    monkeypatch.delenv("EDGE_KEY_NEW_PASSPHRASE", raising=False)

    def call(*arguments: str | Path, folder: Path | None = None) -> Ended:
        ended = edge("key", *arguments, folder=folder or fleet)
        for path in fleet.parent.rglob("*.key"):
            secret = "".join(path.read_text().splitlines()[1:-1])[60:]
            assert not any(part in ended.out + ended.err for part in (secret, secret[:40], PASSPHRASE))
        return ended

    return call


def ids(ended: Ended, role: str) -> list[str]:
    (state,) = (state for state in ended.json if state["role"] == role)
    return [key["key"][:8] for key in state["keys"]]


def test_the_list_says_where_keys_lie_how_many_must_sign_and_until_when(key: Edge) -> None:
    ended = key("list")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split("  ")[0] == "role"
    for line, role in zip(lines[1:], ROLES, strict=True):
        locked = "encrypted" if role in ("root", "targets") else "plain"
        assert line.startswith(role)
        assert f"keys/{role}.key, {locked}" in line
        assert "1 of 1" in line
    states = key("list", "--json").json
    assert [state["role"] for state in states] == list(ROLES)
    assert set(states[0]) == {"role", "threshold", "expires", "due", "keys"}
    assert set(states[0]["keys"][0]) == {"key", "private", "state", "counts"}


def test_keys_are_replaced_and_the_next_publish_needs_no_more_than_before(
    key: Edge, edge: Edge, fleet: Path, tmp_path: Path
) -> None:
    before = key("list", "--json")
    ended = key("rotate", *ROLES)
    assert (ended.code, "new keys for root, targets" in ended.err) == (0, True)
    after = key("list", "--json")
    for role in ROLES:
        assert set(ids(before, role)).isdisjoint(ids(after, role))
    bundle = make_bundle(tmp_path / "bundle")
    assert edge("publish", "digits", bundle.folder, folder=fleet).code == 0
    assert edge("doctor", folder=fleet).code == 0


def test_two_people_hold_keys_and_both_must_sign(
    key: Edge, edge: Edge, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    monkeypatch.setenv("EDGE_KEY_NEW_PASSPHRASE", "second person")
    ended = key("add", "targets", "--folder", stick)
    assert (ended.code, "[keys] folders = " in ended.err) == (0, True)
    assert [stat.S_IMODE(path.stat().st_mode) for path in stick.glob("*.key")] == [0o600]
    toml = fleet / "edge.toml"
    toml.write_text(toml.read_text().replace("folders = []", f"folders = {json.dumps([str(stick)])}"))
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", f"{PASSPHRASE}\nsecond person")
    assert key("threshold", "targets", "2").code == 0
    bundle = make_bundle(tmp_path / "bundle")
    assert edge("publish", "digits", bundle.folder, folder=fleet).code == 0
    first, second = ids(key("list", "--json"), "targets")
    stick.rename(tmp_path / "away")
    assert f"{second}  not here" in key("list").out
    ended = edge("publish", "digits", bundle.folder, folder=fleet)
    assert (ended.code, "needs 2 signatures, and 1 of its keys" in ended.err, second in ended.err) == (
        1,
        True,
        True,
    )
    ended = key("revoke", "targets", first, "-y")
    assert (ended.code, "[key.threshold-unreachable]" in ended.err) == (2, True)
    ended = key("threshold", "targets", "1")
    assert (ended.code, "[key.threshold-not-met]" in ended.err) == (0, False)
    assert key("revoke", "targets", second, "-y").code == 0
    assert ids(key("list", "--json"), "targets") == [first]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("list extra", 2, "unexpected extra argument"),
        ("rotate", 2, "Missing argument"),
        ("rotate roots", 2, "'roots' is not one of"),
        ("rotate root --key ffffffff", 2, "[key.unknown]"),
        ("threshold root 0", 2, "not in the range"),
        (
            "threshold root 2",
            2,
            "`root` would have 1 of the 2 keys that must sign [key.threshold-unreachable]",
        ),
        ("threshold root many", 2, "not a valid integer"),
        ("revoke root ffffffff -y", 2, "[key.unknown]"),
        ("revoke root ffffffff", 2, "say --yes to revoke a key [usage.option-invalid]"),
        ("add root --folder nowhere", 2, "does not exist"),
        ("renew", 0, "nothing is due"),
        ("renew desired", 2, "'desired' is not one of"),
        ("passphrase desired", 2, "its key has no passphrase"),
        ("passphrase root --key ffffffff", 2, "name one key of `root` that is here: none"),
        ("passphrase root", 2, "give the new passphrase in it"),
        ("backup edge.toml", 1, "[backup.exists]"),
        ("backup --check none.edge", 2, "[backup.missing]"),
        ("restore none.edge -y", 2, "[backup.missing]"),
    ],
)
def test_what_a_command_ends_with(key: Edge, fleet: Path, command: str, code: int, words: str) -> None:
    before = {path: path.read_bytes() for path in fleet.rglob("*.*") if path.is_file()}
    ended = key(*command.split())
    assert (ended.code, words in ended.err) == (code, True), ended
    assert {path: path.read_bytes() for path in fleet.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command", ["rotate desired", "rotate root", "add targets", "renew root", "threshold root 1"]
)
def test_without_a_passphrase_nothing_is_changed(
    key: Edge, fleet: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in fleet.rglob("*.*") if path.is_file()}
    monkeypatch.delenv("EDGE_KEY_PASSPHRASE")
    assert "[key.passphrase-missing]" in key(*command.split()).err
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", "incorrect horse")
    ended = key(*command.split(), "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "key.passphrase-wrong")
    assert {path: path.read_bytes() for path in fleet.rglob("*.*") if path.is_file()} == before


def test_another_passphrase(key: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_KEY_NEW_PASSPHRASE", "another one")
    assert key("passphrase", "root").code == 0
    assert key("renew", "root", "targets").code == 1
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", "another one\n" + PASSPHRASE)
    ended = key("renew", "root", "targets")
    assert (ended.code, "signed anew: root, targets" in ended.err) == (0, True)


def test_a_new_key_has_one_passphrase(key: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", f"{PASSPHRASE}\nother")
    ended = key("add", "root")
    assert (ended.code, "EDGE_KEY_NEW_PASSPHRASE" in ended.err) == (2, True)


def test_a_damaged_edge_toml_does_not_stand_in_the_way_of_a_restore(
    key: Edge, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_BACKUP_PASSPHRASE", "of the backup")
    file, before = tmp_path / "b.edge", (fleet / "edge.toml").read_bytes()
    assert key("backup", file).code == 0
    (fleet / "edge.toml").write_text("{ nonsense")
    ended = key("restore", file, "-y")
    assert ended.code == 0, ended
    assert (fleet / "edge.toml").read_bytes() == before


def test_a_backup_says_where_root_can_not_be_signed_for_with_it(
    key: Edge, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_BACKUP_PASSPHRASE", "of the backup")
    (fleet / "keys/root.key").unlink()
    file = tmp_path / "b.edge"
    for command in (("backup", file), ("backup", "--check", file)):
        ended = key(*command)
        assert (ended.code, "root: 1 must sign, 0 are in it" in ended.err) == (0, True), ended
        assert "targets: 1 must sign" not in ended.err
    (root, *others) = key("backup", "--check", file, "--json").json["keys"]
    assert (root["role"], root["inside"], root["enough"]) == ("root", [], False)
    assert all(one["enough"] for one in others)


def test_exposed_keys_are_named_by_the_doctor(key: Edge, edge: Edge, fleet: Path) -> None:
    (fleet / "keys/targets.key").chmod(0o644)
    ended = edge("doctor", folder=fleet)
    assert (ended.code, "readable by others: targets.key" in ended.err) == (1, True)


def test_what_expires_within_sixty_days_is_said(key: Edge, edge: Edge, fleet: Path, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ends = {
        "root": now + datetime.timedelta(days=59.5), "targets": now + datetime.timedelta(days=61),
        "desired": now - datetime.timedelta(days=1), "desired-bin-00": now + datetime.timedelta(days=9),
    }  # fmt: skip
    assert expiring(ends) == (
        "the signature of `root` expires in 59 days: run `edge key renew`",
        "the signature of `desired` has expired, and boards take no updates: run `edge repo refresh`",
    )
    long_ago = (now - datetime.timedelta(days=3600)).timestamp()
    past = Repository(
        fleet / "repository", KeyRing(fleet / "keys"), lambda _: PASSPHRASE, clock=lambda: long_ago
    )
    past.refresh(with_targets=True, force=True)
    bundle = make_bundle(tmp_path / "bundle")
    assert "doubt" not in edge("publish", "digits", bundle.folder, folder=fleet).err
    from edge.repository import Trust

    Trust(fleet / "repository", KeyRing(fleet / "keys"), lambda _: PASSPHRASE, clock=lambda: long_ago).renew(
        "root"
    )
    ended = edge("publish", "digits", bundle.folder, folder=fleet)
    assert (ended.code, "`root` expires in 49 days: run `edge key renew`" in ended.err) == (0, True)
    ended = edge("doctor", folder=fleet)
    assert "root is the first to expire, in 49 days" in ended.err
    assert "root: less than half of its time is left: run `edge key renew`" in key("list").err
    assert key("renew").code == 0
    assert days_left(Repository.open(fleet / "repository", KeyRing(fleet / "keys")).expiry()["root"]) > 3600


def test_passphrases_are_asked_for_at_a_terminal_the_new_one_twice(fleet: Path) -> None:
    code, said = at_terminal(
        [EDGE, "key", "rotate", "root"], cwd=fleet, NO_COLOR="1",
        typed=[
            ("`root` key: ", f"{PASSPHRASE}\n"), ("fleet's keys: ", "new word\n"), ("confirmation: ", "new word\n"),
        ],
    )  # fmt: skip
    assert code == 0, said
    assert "new word" not in said
    assert PASSPHRASE not in said
    (path,) = (fleet / "keys").glob("root*.key")
    keyfile.read_private(path, b"new word")
