"""Private keys and passphrases: readable by their owner alone, and nowhere but where they belong.

The rule of the search: the bytes of each private key in every form that a program would write (raw, hexadecimal,
base64 at any alignment, its PEM lines) and the passphrases are looked for in all that commands say and log, in the
fleet's folder outside of `keys/`, in the telemetry's files, and on a board; but not in what was published, which lies
there under its own digest.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from agent.update import commands
from tests.cli.conftest import Edge, edge
from tests.repository.fleet import make_bundle
from tests.update.world import Board, Fleet, passphrase

__all__ = ["edge"]
PASSPHRASE, WRONG, SUDO = (
    "an uncommon passphrase 4711",
    "a wrong passphrase 0815",
    "the password of sudo 1234",
)
PUBLISHED = ("objects/", "inbox/blobs/", "repository/blobs/")
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def private_files(folder: Path) -> list[Path]:
    """Every file below `folder` that holds a private key, by its content."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return [path for path in files if PEM.match(path.read_bytes())]


def needles(path: Path, words: tuple[str, ...]) -> Iterator[bytes]:
    """Everything that must not be seen of the private key in `path`."""
    data = path.read_bytes()
    lines = [line for line in data.splitlines() if b"-----" not in line]
    # the first lines of an OpenSSH key say its kind and are the same in all keys
    yield from (line for line in lines[1:] if len(line) >= 32)
    key = opened(data, words)
    if hasattr(key, "private_bytes_raw"):
        raw = key.private_bytes_raw()
    else:
        number = key.private_numbers().private_value
        raw = number.to_bytes(32, "big")
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    yield from (raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(der))
    for shift in range(3):  # base64 of something that has the key in its middle
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4:-4]
        yield base64.urlsafe_b64encode(b"\0" * shift + raw)[4:-4]


def opened(data: bytes, words: tuple[str, ...]) -> Any:
    """A private key, which one of the words opens where it is encrypted."""
    for word in (None, *words):
        for load in (load_ssh_private_key, load_pem_private_key):
            with contextlib.suppress(ValueError, TypeError):
                return load(data, word.encode() if word else None)
    raise AssertionError("a private key that none of the words opens")


@dataclass
class Search:
    """What was said and written, and what must not be in it."""

    secrets: dict[bytes, str]

    @classmethod
    def of(cls, *folders: Path, words: tuple[str, ...]) -> Search:
        found = {
            needle: str(path)
            for folder in folders
            for path in private_files(folder)
            for needle in needles(path, words)
        }
        return cls(found | {word.encode(): "a passphrase" for word in words})

    def clean(self, data: bytes, where: object) -> None:
        seen = [name for needle, name in self.secrets.items() if needle in data]
        assert not seen, f"{where} shows {seen[0]}"

    def clean_folder(self, folder: Path, *, but: tuple[str, ...] = ()) -> None:
        looked_at = 0
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.relative_to(folder).as_posix().startswith(but):
                self.clean(path.read_bytes(), path)
                looked_at += 1
        assert looked_at


def modes(folder: Path) -> None:
    """No private key is readable, and no folder of keys may be entered, by others."""
    found = private_files(folder)
    assert found
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for path in folder.rglob("keys"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_no_command_says_logs_or_writes_a_private_key_or_a_passphrase(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "f"
    bundle = make_bundle(tmp_path / "bundle").folder
    said: list[str] = []

    def run(*arguments: str | Path, word: str = PASSPHRASE, code: int | None = 0) -> None:
        monkeypatch.setenv("EDGE_KEY_PASSPHRASE", word)
        monkeypatch.setenv("EDGE_BACKUP_PASSPHRASE", SUDO)
        monkeypatch.setenv("EDGE_SUDO_PASSWORD", SUDO)
        ended = edge(*arguments, folder=folder if folder.exists() else tmp_path)
        assert code is None or ended.code == code, ended.err
        said.append(ended.out + ended.err)

    run("init", folder)
    before = Search.of(folder, words=(PASSPHRASE,))
    run("publish", "digits", bundle, "--json")
    run("publish", "digits", bundle, "--json", word=WRONG, code=1)
    for arguments in (
        ("key", "list"),
        ("key", "rotate", "snapshot"),
        ("repo", "releases"),
        ("device", "list"),
    ):
        run(*arguments)
        run(*arguments, "--json", code=None)
    run("key", "rotate", "targets", word=WRONG, code=1)
    run("repo", "refresh", "--json", code=None)
    run("inspect", "digits@1", "--json")
    run("key", "backup", tmp_path / "backup", "--json")
    run("broker", "config", tmp_path / "mosquitto", "--host", "broker.example")
    run("device", "add", "pi@127.0.0.1:1", "--yes", "--json", code=None)
    run("key", "list", "--no-such-option", "--json", code=2)
    modes(folder)
    modes(tmp_path / "mosquitto")
    for search in (before, Search.of(folder, words=(PASSPHRASE, WRONG, SUDO))):
        search.clean("".join(said).encode(), "what commands said")
        search.clean(caplog.text.encode(), "the log")
        search.clean_folder(folder, but=("keys/",))
        search.clean((tmp_path / "backup").read_bytes(), "the backup")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) & 0o077 == 0


def test_no_private_key_of_the_fleet_comes_to_a_board_and_none_of_the_boards_leaves_it(
    bare: Board, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SIM", "1")
    monkeypatch.setenv("EDGE_SIM_SERIAL_FILE", str(bare.root / "serial"))
    bare.assign(1, fleet.publish("good"))
    bare.fill_inbox()
    commands.recover(bare.root)
    assert [path.name for path in private_files(bare.root)] == ["mqtt.key", "device.key"], (
        "what else there is of keys are public halves"
    )
    modes(bare.root)
    Search.of(fleet.folder.path, words=(passphrase("root"),)).clean_folder(bare.root, but=PUBLISHED)
    of_board = Search.of(bare.root, words=())
    of_board.clean_folder(fleet.folder.path, but=PUBLISHED)
    of_board.clean_folder(bare.root, but=("mqtt.key", "state/device.key", *PUBLISHED))
    done = bare.run("status", "--json")
    of_board.clean((done.stdout + done.stderr).encode(), "status")


def test_the_search_finds_a_key_that_was_planted(fleet: Fleet, tmp_path: Path) -> None:
    search = Search.of(fleet.folder.path, words=(passphrase("root"),))
    key = load_ssh_private_key((fleet.folder.keys / "timestamp.key").read_bytes(), None)
    raw = key.private_bytes_raw()  # type: ignore[union-attr]
    for planted in (raw, raw.hex().encode(), base64.b64encode(b"xy" + raw + b"z"),
                    (fleet.folder.keys / "root.key").read_bytes()):  # fmt: skip
        with pytest.raises(AssertionError, match="shows"):
            search.clean(b"before " + planted + b" after", "a log")
