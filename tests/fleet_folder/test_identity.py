from __future__ import annotations

import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.codec import encode
from agent.contract.errors import (
    DocumentInvalid,
    KeyMissing,
    KeysExist,
    KeyUnreadable,
    PassphraseMissing,
    PassphraseWrong,
    ReportForged,
    ReportReplayed,
)
from agent.contract.messages import Reported, Signed, signed_bytes
from agent.contract.states import UpdateState
from edge.identity import ENCRYPTED, PLAIN, ROLES, KeyRing, SshKey, open_report, verify_signed

WORD = "correct horse"


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    KeyRing(path).create(lambda role: WORD)
    return path


@pytest.fixture
def keys(made_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once, tmp_path / "keys"))


def test_every_key_signs_what_its_public_half_verifies(keys: Path) -> None:
    ring = KeyRing(keys)
    for role in ROLES:
        signature = ring.signer(role, lambda role: WORD).sign(b"data")
        ring.public_key(role).verify_signature(signature, b"data")
    assert len({ring.public_key(role).keyid for role in ROLES}) == len(ROLES)


def test_no_private_key_is_readable_by_others(keys: Path) -> None:
    ring = KeyRing(keys)
    _ = SshKey(keys).current
    assert ring.exposed() == ()
    for path in keys.iterdir():
        if path.suffix == ".key" or path.name == "ssh":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (keys / "desired.key").chmod(0o640)
    assert ring.exposed() == (keys / "desired.key",)


def test_keys_are_not_for_version_control(keys: Path) -> None:
    assert (keys / ".gitignore").read_text() == "*\n"


def test_what_can_change_what_boards_run_is_encrypted(keys: Path) -> None:
    for role in ENCRYPTED:
        with pytest.raises(PassphraseMissing):
            KeyRing(keys).signer(role)
        with pytest.raises(PassphraseMissing):
            KeyRing(keys).signer(role, lambda role: "")
        with pytest.raises(PassphraseWrong, match=role):
            KeyRing(keys).signer(role, lambda role: "incorrect horse")
    for role in PLAIN:
        KeyRing(keys).signer(role)


def test_a_passphrase_is_asked_for_once(keys: Path) -> None:
    asked: list[str] = []

    def ask(role: str) -> str:
        asked.append(role)
        return WORD

    ring = KeyRing(keys)
    for _ in range(3):
        ring.signer("targets", ask)
    assert asked == ["targets"]


def test_keys_are_never_overwritten(keys: Path) -> None:
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    with pytest.raises(KeysExist):
        KeyRing(keys).create(lambda role: WORD)
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before


def test_no_key_is_made_without_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(PassphraseMissing):
        KeyRing(tmp_path / "keys").create(lambda role: "")
    assert not (tmp_path / "keys").exists()


def test_a_lost_or_damaged_key_is_named(keys: Path) -> None:
    (keys / "desired.key").unlink()
    with pytest.raises(KeyMissing, match="desired"):
        KeyRing(keys).signer("desired")
    (keys / "snapshot.key").write_text("nonsense")
    (keys / "targets.key").write_text("nonsense")
    (keys / "root.pub").write_text("nonsense")
    for role in ("snapshot", "targets"):
        with pytest.raises(KeyUnreadable, match=role):
            KeyRing(keys).signer(role, lambda role: WORD)
    with pytest.raises(KeyUnreadable, match=r"root\.pub"):
        KeyRing(keys).public_key("root")


def test_the_ssh_key_is_made_once_and_openssh_reads_it(keys: Path) -> None:
    key = SshKey(keys)
    path = key.current
    assert key.current.read_bytes() == path.read_bytes()
    public = key.public_line(path)
    assert public == path.with_name("ssh.pub").read_text()
    assert public.startswith("ssh-ed25519 ")
    assert public.endswith(" edge\n")
    if shutil.which("ssh-keygen"):
        ran = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True)
        assert ran.stdout.split()[:2] == public.split()[:2]


def test_a_new_ssh_key_leaves_the_former_one_until_it_is_forgotten(keys: Path) -> None:
    key = SshKey(keys)
    before = key.public_line(key.current)
    key.replace()
    assert key.former is not None
    assert key.public_line(key.former) == before != key.public_line(key.current)
    now = key.public_line(key.current)
    key.replace()  # the same one goes on
    assert (key.public_line(key.former), key.public_line(key.current)) == (before, now)
    shutil.copy(key.former, key.current)  # cut short before the new key was written
    key.replace()
    assert key.public_line(key.former) == before != key.public_line(key.current)
    assert KeyRing(keys).exposed() == ()
    key.former.chmod(0o644)
    assert KeyRing(keys).exposed() == (key.former,)
    key.forget_former()
    assert key.former is None


# --- reports -----------------------------------------------------------------------------------------------

DEVICE_KEY = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
PUBLIC = DEVICE_KEY.public_key().public_bytes_raw().hex()
REPORT = Reported(device="b-1", counter=4, state=UpdateState.CONFIRMED, nonce="ab" * 16, wall=1)


def signed(report: Reported = REPORT, counter: int = 7, device: str = "b-1") -> Signed:
    payload = encode(report).decode()
    signature = DEVICE_KEY.sign(signed_bytes(device, counter, payload)).hex()
    return Signed(device=device, counter=counter, payload=payload, signature=signature)


def test_a_report_is_the_devices_own_word() -> None:
    assert verify_signed(signed(), PUBLIC)
    assert open_report(signed(), device="b-1", public_key=PUBLIC, counter_seen=6) == REPORT


def test_the_same_report_may_be_read_again_and_an_older_one_may_not() -> None:
    open_report(signed(), device="b-1", public_key=PUBLIC, counter_seen=7)
    with pytest.raises(ReportReplayed, match="counter 7, seen 8"):
        open_report(signed(), device="b-1", public_key=PUBLIC, counter_seen=8)


@pytest.mark.parametrize(
    "forged",
    [
        replace(signed(), counter=8),
        replace(signed(), payload=signed().payload.replace("confirmed", "finalised")),
        replace(signed(), signature="00" * 64),
        replace(signed(), signature=""),
        replace(signed(), signature="no hexadecimal"),
        replace(signed(), device="b-2"),
        signed(device="b-2"),
        signed(replace(REPORT, device="b-2")),
    ],
)
def test_a_forged_report_is_not_believed(forged: Signed) -> None:
    with pytest.raises(ReportForged):
        open_report(forged, device="b-1", public_key=PUBLIC, counter_seen=0)


def test_a_wrong_public_key_verifies_nothing() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\2" * 32).public_key().public_bytes_raw().hex()
    for public_key in (other, "", "zz", "00"):
        assert not verify_signed(signed(), public_key)


def test_what_is_signed_but_no_report_is_refused() -> None:
    signature = DEVICE_KEY.sign(signed_bytes("b-1", 7, "{}")).hex()
    with pytest.raises(DocumentInvalid):
        open_report(Signed("b-1", 7, "{}", signature), device="b-1", public_key=PUBLIC, counter_seen=0)
