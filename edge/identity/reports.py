"""Whose word a board's report is.

The rule: a report counts only with the device's own signature, and never backwards.
"""

from __future__ import annotations

from agent.contract.codec import decode
from agent.contract.errors import ReportForged, ReportReplayed
from agent.contract.messages import Reported, Signed, signed_bytes


def verify_signed(signed: Signed, public_key: str) -> bool:
    """Whether an envelope carries the signature of the key `public_key` (Ed25519, 64 hexadecimal digits)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
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
