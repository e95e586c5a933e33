"""Names of TUF targets and roles, and where blobs lie. These strings stand nowhere else.

Manifests are targets: their stored bytes are what is signed for. Files and layers are blobs by SHA-256, named by
manifests. Desired states are targets of the role `desired` (path `desired/*`), which spreads them over
`2 ** DESIRED_BITS` succinct hash bins under one key; everything else belongs to the top-level role `targets`, and
a board accepts it from there only.
"""

from __future__ import annotations

DESIRED_ROLE = "desired"
DESIRED_BITS = 5
DESIRED_BIN_PREFIX = "desired-bin"
DESIRED_PATHS = "desired/*"


def bundle_target(digest: str) -> str:
    """Target path of a bundle's manifest."""
    return f"bundles/{digest}.json"


def runtime_target(digest: str) -> str:
    """Target path of a runtime's manifest."""
    return f"runtimes/{digest}.json"


def release_target(name: str, version: int) -> str:
    """Target path of a release."""
    return f"releases/{name}/{version}.json"


def desired_target(device: str) -> str:
    """Target path of a device's desired state."""
    return f"desired/{device}.json"
