"""One key in its two files: `<name>.key` in OpenSSH's format, and `<name>.pub`, 64 hexadecimal digits.

The rule: a private half is written with mode 0600 from its first byte on, whole or not at all, and what can't be read
is named with its path.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.errors import KeyMissing, KeyUnreadable, PassphraseWrong
from edge import durable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import Key

KDF_ROUNDS = 32
"""Of bcrypt, in OpenSSH's key format: about 0.3 s for one guess at a passphrase. (Encrypted PKCS8 as
`cryptography` writes it takes 2048 rounds of PBKDF2: half a millisecond.)"""
_MAGIC = b"openssh-key-v1\0"
_PLAIN = b"\0\0\0\4none"


def new_key() -> Ed25519PrivateKey:
    """A new key, in memory alone."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def public_half(key: Ed25519PrivateKey) -> Key:
    """A key's public half as the signed metadata knows it."""
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(key.public_key())


def private_bytes(key: Ed25519PrivateKey, word: bytes | None) -> bytes:
    """A private half in OpenSSH's format, encrypted with the passphrase `word` unless that is None."""
    from cryptography.hazmat.primitives import serialization as form

    encryption: form.KeySerializationEncryption = form.NoEncryption()
    if word is not None:
        encryption = form.PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(KDF_ROUNDS).build(word)
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, encryption)


def write_private(path: Path, key: Ed25519PrivateKey, word: bytes | None) -> None:
    """Put a private half at `path`, in place of what is there; cut short, it leaves what was there."""
    durable.write(path, private_bytes(key, word), mode=0o600)


def write_public(path: Path, key: Ed25519PrivateKey) -> None:
    """Put a public half at `path`."""
    durable.write(path, f"{key.public_key().public_bytes_raw().hex()}\n".encode())


def read_public(path: Path, role: str) -> Key:
    """A public half.

    Raises:
        KeyMissing: there is no file.
        KeyUnreadable: it is damaged.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

    try:
        raw = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError as error:
        raise KeyMissing(role=role) from error
    except (OSError, ValueError) as error:
        raise KeyUnreadable(path=path, reason=str(error)) from error
    if len(raw) != 32:
        raise KeyUnreadable(path=path, reason="it must hold 64 hexadecimal digits")
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw))


def is_encrypted(path: Path) -> bool:
    """Whether a private half needs a passphrase. Raises KeyUnreadable where it is no key."""
    body = "".join(line for line in _text(path).splitlines() if not line.startswith("-----"))
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyUnreadable(path=path, reason="it is no key in OpenSSH's format") from error
    if not data.startswith(_MAGIC):
        raise KeyUnreadable(path=path, reason="it is no key in OpenSSH's format")
    return not data.startswith(_MAGIC + _PLAIN)


def read_private(path: Path, word: bytes | None) -> Ed25519PrivateKey:
    """A private half, opened with the passphrase `word`, or None where it needs none.

    Raises:
        KeyUnreadable: it is damaged, or no Ed25519 key.
        PassphraseWrong: `word` does not open it.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(_text(path).encode(), word)
    except ValueError as error:
        if word is not None:
            raise PassphraseWrong(role=path.stem) from error
        raise KeyUnreadable(path=path, reason=str(error)) from error
    except TypeError as error:
        raise KeyUnreadable(path=path, reason=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnreadable(path=path, reason="it is no Ed25519 key")
    return key


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnreadable(path=path, reason=str(error)) from error
