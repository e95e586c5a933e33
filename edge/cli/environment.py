"""Secrets that a script gives in the environment.

The rule: they are taken out of it before anything else is done, so that no process that edge starts (a conversion of a
model that somebody else made, a simulated board) is born with them.
"""

from __future__ import annotations

import os

SECRETS = (
    "EDGE_KEY_PASSPHRASE",
    "EDGE_KEY_NEW_PASSPHRASE",
    "EDGE_BACKUP_PASSPHRASE",
    "EDGE_SUDO_PASSWORD",
    "EDGE_LOGIN_PASSWORD",
)
_taken: dict[str, str] = {}


def take_secrets() -> None:
    """Move the secrets from this process's environment into its memory."""
    for name in SECRETS:
        if value := os.environ.pop(name, ""):
            _taken[name] = value


def secret(name: str) -> str | None:
    """A secret that was given, or None."""
    return _taken.get(name) or os.environ.get(name) or None
