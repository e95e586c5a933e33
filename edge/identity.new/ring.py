"""The fleet's keys, and whose word a board's report is.

The rule: no private key is readable by others, not for a moment; the keys that can make boards run something
else (`root`, `targets`) are encrypted, the keys that can only choose among what these signed are plain files of
mode 0600, so that a gate can halt a rollout at night. A report counts only with the device's own signature, and
never backwards.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.codec import decode
from agent.contract.errors import (
    KeyMissing,
    KeysExist,
    KeyUnreadable,
    PassphraseMissing,
    PassphraseWrong,
    ReportForged,
    ReportReplayed,
)
from agent.contract.messages import Reported, Signed, signed_bytes
from edge import durable
from edge.certificates import KEY as MQTT_KEY

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from securesystemslib.signer import CryptoSigner, Key

Passphrase = Callable[[str], str]
"""From a role's name to its key's passphrase; it may ask a person."""

ENCRYPTED = ("root", "targets")
PLAIN = ("desired", "snapshot", "timestamp")
ROLES = (*ENCRYPTED, *PLAIN)
KDF_ROUNDS = 32
"""Of bcrypt, in OpenSSH's key format: about 0.3 s for one guess at a passphrase. (Encrypted PKCS8 as
`cryptography` writes it takes 2048 rounds of PBKDF2: half a millisecond.)"""
SSH_KEY = "ssh"


class KeyRing:
    """The folder `keys/`: `<role>.key` in OpenSSH's format and `<role>.pub`, 64 hexadecimal digits.

    An encrypted key stays open in this object once it was opened, so a passphrase is asked for once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, Ed25519PrivateKey] = {}

    def create(self, passphrase: Passphrase) -> None:
        """Make all keys. `root` is written last, so that what was interrupted counts as not made.

        Raises:
            KeysExist: there are keys already; they are never overwritten.
            PassphraseMissing: `passphrase` answers nothing.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if self.complete:
            raise KeysExist(path=self._path)
        words = {role: self._asked(role, passphrase) for role in ENCRYPTED}
        durable.make_folder(self._path, mode=0o700)
        durable.write(self._path / ".gitignore", b"*\n")
        for role in reversed(ROLES):
            key = Ed25519PrivateKey.generate()
            durable.write(
                self._path / f"{role}.pub", f"{key.public_key().public_bytes_raw().hex()}\n".encode()
            )
            durable.write(self._file(role), _private_bytes(key, words.get(role)), mode=0o600)
            self._open[role] = key

    @property
    def complete(self) -> bool:
        """Whether `create` was here."""
        return self._file("root").exists()

    def signer(self, role: str, passphrase: Passphrase | None = None) -> CryptoSigner:
        """What signs for `role`.

        Raises:
            KeyMissing: there is no key for it.
            KeyUnreadable: its file is damaged.
            PassphraseMissing: it is encrypted and no passphrase was given.
            PassphraseWrong: the passphrase does not open it.
        """
        from securesystemslib.signer import CryptoSigner

        if role not in self._open:
            self._open[role] = self._load(role, passphrase)
        return CryptoSigner(self._open[role])

    def public_key(self, role: str) -> Key:
        """The public half of the key for `role`.

        Raises:
            KeyMissing: there is none.
            KeyUnreadable: its file is damaged.
        """
        from securesystemslib.signer import SSlibKey

        path = self._path / f"{role}.pub"
        try:
            text = path.read_text().strip()
            raw = bytes.fromhex(text)
        except FileNotFoundError as error:
            raise KeyMissing(role=role) from error
        except ValueError as error:
            raise KeyUnreadable(path=path, reason=str(error)) from error
        if len(raw) != 32:
            raise KeyUnreadable(path=path, reason="it must hold 64 hexadecimal digits")
        return SSlibKey.from_crypto(_public_key(raw))

    def ssh_key_path(self) -> Path:
        """The fleet's own SSH key (Ed25519, OpenSSH's format, mode 0600), made when it is first asked for.

        The public half lies beside it as `ssh.pub`, one line for `authorized_keys`.
        """
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self._path / SSH_KEY
        if not path.exists():
            durable.make_folder(self._path, mode=0o700)
            _write_unless_there(path, _private_bytes(Ed25519PrivateKey.generate(), None), mode=0o600)
        public = path.with_name(f"{SSH_KEY}.pub")
        if not public.exists():
            key = form.load_ssh_private_key(path.read_bytes(), None)
            line = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
            _write_unless_there(public, line + b" edge\n", mode=0o644)
        return path

    def exposed(self) -> tuple[Path, ...]:
        """Private keys that others than their owner may read or write; there should be none."""
        private = [self._file(role) for role in ROLES] + [self._path / SSH_KEY, self._path / MQTT_KEY]
        return tuple(path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077)

    def _file(self, role: str) -> Path:
        return self._path / f"{role}.key"

    def _asked(self, role: str, passphrase: Passphrase | None) -> bytes:
        word = passphrase(role) if passphrase else ""
        if not word:
            raise PassphraseMissing(role=role)
        return word.encode()

    def _load(self, role: str, passphrase: Passphrase | None) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        path = self._file(role)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise KeyMissing(role=role) from error
        word = self._asked(role, passphrase) if role in ENCRYPTED else None
        try:
            key = load_ssh_private_key(data, word)
        except ValueError as error:
            if word is not None and b"OPENSSH PRIVATE KEY" in data:
                raise PassphraseWrong(role=role) from error
            raise KeyUnreadable(path=path, reason=str(error)) from error
        except TypeError as error:
            raise KeyUnreadable(path=path, reason=str(error)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnreadable(path=path, reason="it is no Ed25519 key")
        return key


def verify_signed(signed: Signed, public_key: str) -> bool:
    """Whether an envelope carries the signature of the key `public_key` (Ed25519, 64 hexadecimal digits)."""
    from cryptography.exceptions import InvalidSignature

    try:
        key = _public_key(bytes.fromhex(public_key))
        key.verify(
            bytes.fromhex(signed.signature), signed_bytes(signed.device, signed.counter, signed.payload)
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def open_report(signed: Signed, *, device: str, public_key: str, counter_seen: int) -> Reported:
    """What a board reports, when it is this board's word and not an older one.

    Args:
        signed: the envelope.
        device: whose report it must be, by id.
        public_key: that device's, 64 hexadecimal digits.
        counter_seen: the highest counter of an envelope accepted from it; the same one may be read again.

    Raises:
        ReportForged: another device's, or the signature is not the device's.
        ReportReplayed: older than `counter_seen`.
        DocumentInvalid: the payload is no report.
    """
    if signed.device != device:
        raise ReportForged(device=device, reason=f"it is of the device `{signed.device}`")
    if not verify_signed(signed, public_key):
        raise ReportForged(device=device, reason="its signature is not of that device's key")
    if signed.counter < counter_seen:
        raise ReportReplayed(device=device, found=signed.counter, seen=counter_seen)
    reported = decode(Reported, signed.payload.encode())
    if reported.device != device:
        raise ReportForged(device=device, reason=f"it speaks of the device `{reported.device}`")
    return reported


def _private_bytes(key: Ed25519PrivateKey, word: bytes | None) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    encryption: form.KeySerializationEncryption = form.NoEncryption()
    if word is not None:
        encryption = form.PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(KDF_ROUNDS).build(word)
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, encryption)


def _public_key(raw: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)


def _write_unless_there(path: Path, data: bytes, *, mode: int) -> None:
    try:
        durable.write_new(path, data, mode=mode)
    except FileExistsError:
        return
