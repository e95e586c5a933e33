"""Streams sealed with a passphrase, in the format of age (age-encryption.org/v1), so that they can be opened without
edge too: `age --decrypt FILE | tar --extract`.

The rule: the primitives are those of `cryptography`; nothing is handed out that was not authenticated, and what was cut
anywhere is refused at the latest where it ends. The format: a header with the file's key, wrapped by scrypt of the
passphrase, and a MAC; then 16 random bytes, and pieces of 64 KiB sealed with ChaCha20-Poly1305 under a counter whose
last byte marks the last piece.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
import re
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

VERSION = b"age-encryption.org/v1"
LABEL = b"age-encryption.org/v1/scrypt"
LOG_N = 17
"""Of scrypt: 128 MiB and about 0.4 s for one guess at the passphrase."""
MOST_LOG_N = 20
"""Of a file that is read: 1 GiB."""
PIECE_BYTES = 64 * 1024
TAG_BYTES = 16
NONCE_BYTES = 16
MOST_HEADER_BYTES = 1024
_HEADER = re.compile(
    rb"age-encryption\.org/v1\n-> scrypt (?P<salt>[A-Za-z0-9+/]{22}) (?P<log_n>[1-9][0-9]?)\n"
    rb"(?P<wrapped>[A-Za-z0-9+/]{43})\n--- (?P<mac>[A-Za-z0-9+/]{43})\n\Z"
)


class Locked(ValueError):
    """The passphrase is not this stream's."""


class Damaged(ValueError):
    """This is no whole sealed stream; the message says why."""


class Sealing(io.RawIOBase):
    """What is written here comes out sealed; it is whole only after `finish`."""

    def __init__(self, out: BinaryIO, passphrase: str) -> None:
        """Write the header to `out`."""
        self._out = out
        self._rest = bytearray()
        self._number = 0
        key, nonce = os.urandom(16), os.urandom(NONCE_BYTES)
        salt = os.urandom(16)
        wrapped = _cipher(_passphrase_key(passphrase, salt, LOG_N)).encrypt(bytes(12), key, None)
        stanza = b"-> scrypt %s %d\n%s\n" % (_base64(salt), LOG_N, _base64(wrapped))
        head = VERSION + b"\n" + stanza + b"---"
        out.write(head + b" " + _base64(_mac(key, head)) + b"\n" + nonce)
        self._cipher = _cipher(_derived(key, nonce, b"payload"))

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self._rest += data
        while len(self._rest) > PIECE_BYTES:  # one that is full may still be the last
            self._seal(PIECE_BYTES, last=False)
        return memoryview(data).nbytes

    def finish(self) -> None:
        """Write the last piece."""
        self._seal(len(self._rest), last=True)

    def _seal(self, length: int, *, last: bool) -> None:
        piece = bytes(self._rest[:length])
        del self._rest[:length]
        self._out.write(self._cipher.encrypt(_counter(self._number, last), piece, None))
        self._number += 1


class Opening(io.RawIOBase):
    """Reads what `Sealing` wrote; nothing of a piece is handed out before it was authenticated."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        """Read the header from `source`.

        Raises:
            Damaged: there is none. Locked: the passphrase does not open it.
        """
        self._source = source
        self._piece = memoryview(b"")
        self._number = 0
        self._ended = False
        head = b"".join(source.readline(MOST_HEADER_BYTES) for _ in range(4))
        found = _HEADER.match(head)
        if found is None:
            raise Damaged("it does not begin as a backup does")
        if (log_n := int(found["log_n"])) > MOST_LOG_N:
            raise Damaged(
                f"its passphrase would take 2^{log_n} rounds of scrypt, at most 2^{MOST_LOG_N} are taken"
            )
        key = _unwrapped(passphrase, _plain(found["salt"]), log_n, _plain(found["wrapped"]))
        if not hmac.compare_digest(_mac(key, head[: head.rindex(b"---") + 3]), _plain(found["mac"])):
            raise Damaged("its header was changed")
        nonce = source.read(NONCE_BYTES)
        self._cipher = _cipher(_derived(key, nonce, b"payload"))
        self._next = source.read(PIECE_BYTES + TAG_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer`.

        Raises:
            Damaged: what comes next is not what was sealed, or is missing.
        """
        while not self._piece and not self._ended:
            self._open_piece()
        into = memoryview(buffer)
        length = min(len(into), len(self._piece))
        into[:length] = self._piece[:length]
        self._piece = self._piece[length:]
        return length

    def _open_piece(self) -> None:
        from cryptography.exceptions import InvalidTag

        piece, self._next = self._next, self._source.read(PIECE_BYTES + TAG_BYTES)
        self._ended = not self._next
        try:
            plain = self._cipher.decrypt(_counter(self._number, self._ended), piece, None)
        except (InvalidTag, ValueError) as error:
            raise Damaged(
                f"it was changed or cut after {self._number * PIECE_BYTES} bytes of what it holds"
            ) from error
        self._piece = memoryview(plain)
        self._number += 1


def _unwrapped(passphrase: str, salt: bytes, log_n: int, wrapped: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(_passphrase_key(passphrase, salt, log_n)).decrypt(bytes(12), wrapped, None)
    except InvalidTag as error:
        raise Locked from error


def _passphrase_key(passphrase: str, salt: bytes, log_n: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=LABEL + salt, length=32, n=1 << log_n, r=8, p=1).derive(passphrase.encode())


def _derived(key: bytes, salt: bytes, what: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt, what).derive(key)


def _mac(key: bytes, head: bytes) -> bytes:
    return hmac.digest(_derived(key, b"", b"header"), head, hashlib.sha256)


def _cipher(key: bytes) -> ChaCha20Poly1305:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key)


def _counter(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _plain(text: bytes) -> bytes:
    data = base64.b64decode(text + b"=" * (-len(text) % 4))
    if _base64(data) != text:
        raise Damaged("its header was changed")
    return data
