"""The board's identity: a key made at enrolment, bound to the hardware's serial number.

The rule: the key never leaves the board; a card that was copied into another board is recognised and signs nothing.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from agent.contract.board import BoardConfig
from agent.contract.errors import BoardCloned, StateDamaged
from agent.contract.messages import Signed, signed_bytes
from agent.update.files import DISK, Files
from agent.update.folder import UpdateFolder
from agent.update.hardware import serials


def ensure_key(folder: UpdateFolder, *, files: Files = DISK) -> str:
    """Make the device key where there is none. Its public half as 64 hexadecimal digits.

    Raises:
        StateDamaged: there is a key that can't be read.
    """
    if not folder.device_key.exists():
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files.replace(folder.device_key, pem, mode=0o600)
    public = _load(folder).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    text = f"{public}\n".encode()
    if not (folder.device_public_key.is_file() and folder.device_public_key.read_bytes() == text):
        files.replace(folder.device_public_key, text, mode=0o644)
    return public


def sign(folder: UpdateFolder, *, device: str, counter: int, payload: str) -> Signed:
    """A message in its envelope.

    Raises:
        StateDamaged: the key can't be read.
    """
    signature = _load(folder).sign(signed_bytes(device, counter, payload))
    return Signed(device=device, counter=counter, payload=payload, signature=signature.hex())


def check_hardware(config: BoardConfig) -> None:
    """See that this is the board that was enrolled.

    Raises:
        BoardCloned: it is another.
    """
    shown = serials()
    if config.serial and shown and config.serial not in shown:
        raise BoardCloned(host=config.device, enrolled=config.serial, found=shown[0])


def _load(folder: UpdateFolder) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(folder.device_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise StateDamaged(path=folder.device_key, reason=str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StateDamaged(path=folder.device_key, reason="it is no Ed25519 key")
    return key
