"""The key of the agent's MQTT certificate: made on the board, read by the agent, never seen elsewhere.

The rule: it proves to a broker which board speaks, and nothing more; what a board swears to is signed by the device
key, which the agent can't read.
"""

from __future__ import annotations

import grp
import os

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from agent.contract.board import SERVICE_SYSTEMD, SYSTEM_USER, BoardConfig
from agent.contract.errors import StateDamaged
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder


def ensure_mqtt_key(folder: UpdateFolder, config: BoardConfig, *, files: Files = DISK) -> None:
    """Make the key where there is none, its public half, and let the agent's user read it.

    Raises:
        StateDamaged: there is a key that can't be read.
    """
    path = folder.mqtt_key
    if not path.exists():
        made = generate_private_key(SECP256R1())
        files.replace(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    if config.service == SERVICE_SYSTEMD and os.geteuid() == 0:
        _let_agent_read(folder, files)
    public = _load(folder).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    told = folder.mqtt_public_key
    if not (told.is_file() and told.read_bytes() == public):
        files.replace(told, public, mode=0o644)


def _let_agent_read(folder: UpdateFolder, files: Files) -> None:
    try:
        group = grp.getgrnam(SYSTEM_USER).gr_gid
    except KeyError:
        return  # somebody took the user away: then there is no agent that could read it
    found = folder.mqtt_key.stat()
    if found.st_gid != group:
        files.give(folder.mqtt_key, group=group)
    if found.st_mode & 0o777 != 0o640:
        files.chmod(folder.mqtt_key, 0o640)


def _load(folder: UpdateFolder) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(folder.mqtt_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise StateDamaged(path=folder.mqtt_key, reason=str(error)) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise StateDamaged(path=folder.mqtt_key, reason="it is no elliptic-curve key")
    return key
