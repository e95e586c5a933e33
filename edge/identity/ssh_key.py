"""The fleet's own SSH key, and the one before it, while boards are left that know only that.

The rule: whatever is cut short, one of the keys that lie here opens every board that was opened before: a former key
is kept until it is said that all boards know the new one.
"""

from __future__ import annotations

from pathlib import Path

from edge import durable
from edge.identity import keyfile

CURRENT = "ssh"
FORMER = "ssh-former"


class SshKey:
    """`ssh` and `ssh-former` (Ed25519, OpenSSH's format, mode 0600) in the folder `keys/`.

    The public half lies beside each as `.pub`, one line for `authorized_keys`.
    """

    def __init__(self, keys: Path) -> None:
        self._path = keys

    @property
    def current(self) -> Path:
        """The key, made when it is first asked for."""
        path = self._path / CURRENT
        if not path.exists():
            durable.make_folder(self._path, mode=0o700)
            _write_unless_there(path, keyfile.private_bytes(keyfile.new_key(), None), mode=0o600)
        return path

    @property
    def former(self) -> Path | None:
        """The key before it, while some boards may know only that."""
        path = self._path / FORMER
        return path if path.exists() else None

    def public_line(self, path: Path) -> str:
        """The line for `authorized_keys` of the key at `path`; it is written beside it too where it is not there."""
        public = path.with_name(f"{path.name}.pub")
        if not public.exists():
            _write_unless_there(public, f"{_line(path)} edge\n".encode(), mode=0o644)
        return public.read_text()

    def replace(self) -> None:
        """Make a new key, and keep the present one as the former. One that was begun goes on."""
        if self.former is None:
            durable.write(self._path / FORMER, self.current.read_bytes(), mode=0o600)
        former = self._path / FORMER
        if _line(former) == _line(self.current):
            keyfile.write_private(self._path / CURRENT, keyfile.new_key(), None)
        for path in (
            self.current,
            former,
        ):  # who opens a board meanwhile may have written the public half of before
            durable.write(path.with_name(f"{path.name}.pub"), f"{_line(path)} edge\n".encode())

    def forget_former(self) -> None:
        """Remove the former key: all boards know the new one."""
        for name in (FORMER, f"{FORMER}.pub"):
            (self._path / name).unlink(missing_ok=True)
        durable.flush_folder(self._path)


def _line(path: Path) -> str:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_ssh_private_key(path.read_bytes(), None)
    return key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()


def _write_unless_there(path: Path, data: bytes, *, mode: int) -> None:
    try:
        durable.write_new(path, data, mode=mode)
    except FileExistsError:
        return
