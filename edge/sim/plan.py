"""What a simulated board is, on disk: `sims/<name>/board.json`, its keys, its home folder.

The rule: the folder is the board. It keeps its port, host key, serial number and everything that was installed on it
when the server that shows it ends.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_name
from edge import durable
from edge.config import FleetFolder
from edge.fleet.host_keys import HostKey, parse_host_key
from edge.identity import SshKey
from edge.ports import free_port

KINDS = ("tflite", "onnx")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One simulated board.

    Attributes:
        name: `sim-1`.
        kind: the engine that its profile names, `tflite` or `onnx`.
        port: of its SSH server on loopback.
        user: whom one logs in as: the user of this machine, since its processes are that user's.
        password: that opens it too, or None. No secret: it stands in the folder.
        folder: of everything that it has.
        requests_per_s: what its clients ask of its agent; 0 for no clients.
    """

    name: str
    kind: str
    port: int
    user: str
    password: str | None
    folder: Path
    requests_per_s: float = 0.0

    @property
    def home(self) -> Path:
        """The home folder on the board."""
        return self.folder / "home"

    @property
    def model(self) -> str:
        """What it calls itself."""
        return f"edge simulated board ({self.kind})"

    @property
    def host_key_file(self) -> Path:
        """Its private host key."""
        return self.folder / "host_key"

    @property
    def host_key(self) -> HostKey:
        """Its public host key."""
        return HostKey.of(parse_host_key((self.folder / "host_key.pub").read_text()))

    def environment(self) -> dict[str, str]:
        """Of every process on the board; nothing of this machine's own leaks in."""
        return {
            "EDGE_SIM": "1",
            "EDGE_SIM_FOLDER": str(self.folder),
            "EDGE_SIM_MODEL": self.model,
            "EDGE_SIM_SERIAL_FILE": str(self.folder / "serial"),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LOGNAME": self.user,
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "USER": self.user,
        }

    def save(self) -> None:
        """Write `board.json`; it is what makes the folder a board."""
        plain = {key: value for key, value in asdict(self).items() if key != "folder"}
        durable.write(self.folder / "board.json", json.dumps(plain, indent=1).encode() + b"\n", mode=0o600)


def make(fleet: FleetFolder, name: str, *, kind: str, password: str | None = None) -> Plan:
    """Make a board's folder: host key, serial number, a bare Python on its PATH, and who may log in.

    Args:
        fleet: its SSH key opens the board; with a `password` only that does, until a key is installed.
        name: of the board.
        kind: `tflite` or `onnx`.
        password: of its user, or None.
    """
    check_name(name, what="simulated board")
    folder = fleet.sims / name
    plan = Plan(name=name, kind=kind, port=free_port(), user=user(), password=password, folder=folder)
    durable.make_folder(plan.home, mode=0o755)
    durable.make_folder(folder / "bin")
    _make_host_key(plan)
    (folder / "serial").write_text(f"sim{secrets.token_hex(6)}\n")
    python = folder / "bin" / "python3"
    python.unlink(missing_ok=True)
    python.symlink_to(getattr(sys, "_base_executable", sys.executable))
    ssh = plan.home / ".ssh"
    durable.make_folder(ssh, mode=0o700)
    if password is None:
        key = SshKey(fleet.keys)
        durable.write(ssh / "authorized_keys", key.public_line(key.current).encode(), mode=0o600)
    plan.save()
    return plan


def plans(fleet: FleetFolder) -> tuple[Plan, ...]:
    """All boards of a fleet folder, by number and name.

    Raises:
        DocumentInvalid: a board's file is damaged.
    """
    found = [_read(path) for path in fleet.sims.glob("*/board.json")]
    return tuple(sorted(found, key=lambda plan: (len(plan.name), plan.name)))


def user() -> str:
    """The user of this machine; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _make_host_key(plan: Plan) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    durable.write(plan.host_key_file, private, mode=0o600)
    durable.write(plan.folder / "host_key.pub", public + b"\n")


def _read(path: Path) -> Plan:
    try:
        plain = json.loads(path.read_bytes())
        return Plan(**plain, folder=path.parent)
    except (ValueError, TypeError) as error:
        raise DocumentInvalid(document=f"`{path}`", reason=str(error)) from error
