"""The fleet's keys, and whose word a board's report is.

The rule: no private key is readable by others, not for a moment; the keys that can make boards run something
else (`root`, `targets`) are encrypted, the keys that can only choose among what these signed are plain files of
mode 0600, so that a gate can halt a rollout at night. A report counts only with the device's own signature, and
never backwards.
"""

from edge.identity.reports import open_report, verify_signed
from edge.identity.ring import (
    ENCRYPTED,
    PLAIN,
    ROLES,
    Draft,
    HeldKey,
    KeyRing,
    Passphrase,
    RoleKeys,
    short,
)
from edge.identity.ssh_key import SshKey

__all__ = [
    "ENCRYPTED",
    "PLAIN",
    "ROLES",
    "Draft",
    "HeldKey",
    "KeyRing",
    "Passphrase",
    "RoleKeys",
    "SshKey",
    "open_report",
    "short",
    "verify_signed",
]
