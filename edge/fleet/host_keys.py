"""Host keys: shown once, pinned to the device, and never accepted unseen.

The rule: paramiko's answers to an unknown key (warn, add) are not used anywhere. A key is either the pinned one
or the connection ends before anything is sent over it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import paramiko

from agent.contract.errors import DocumentInvalid, HostKeyUnknown


@dataclass(frozen=True)
class HostKey:
    """A board's public host key.

    Attributes:
        text: OpenSSH's form, `ssh-ed25519 AAAA…`, without comment.
        fingerprint: `SHA256:` and base64 without padding, as `ssh-keygen -l` prints it.
    """

    text: str
    fingerprint: str

    @property
    def kind(self) -> str:
        """Like `ssh-ed25519`."""
        return self.text.split()[0]

    @classmethod
    def of(cls, key: paramiko.PKey) -> HostKey:
        """From paramiko's form."""
        return cls(f"{key.get_name()} {key.get_base64()}", fingerprint(key.asbytes()))


def fingerprint(blob: bytes) -> str:
    """`SHA256:…` of a public key's bytes."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse_host_key(text: str) -> paramiko.PKey:
    """OpenSSH's form to paramiko's.

    Raises:
        DocumentInvalid: it is no host key.
    """
    try:
        kind, encoded = text.split()[:2]
        key = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        raise DocumentInvalid(document="host key", reason=str(error) or "no known kind of key") from error
    return key


def entry_of(host: str, port: int) -> str:
    """How known_hosts calls a host."""
    return host if port == 22 else f"[{host}]:{port}"


def keys_in(files: Iterable[Path], entry: str) -> tuple[HostKey, ...]:
    """The keys by which known_hosts files know a host; what can't be read is passed over, as ssh does."""
    known = paramiko.HostKeys()
    for path in files:
        with contextlib.suppress(OSError, paramiko.SSHException, UnicodeDecodeError):
            known.load(str(path))
    found = known.lookup(entry)
    return tuple(HostKey.of(key) for key in found.values()) if found else ()


class OnlyPinned(paramiko.MissingHostKeyPolicy):
    """Refuses every key that is not pinned, and says which one it was."""

    def __init__(self, host: str) -> None:
        self._host = host

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        raise HostKeyUnknown(host=self._host, fingerprint=fingerprint(key.asbytes()))
