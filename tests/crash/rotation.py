"""New keys for `targets` and `desired`, under a second root: signed with python-tuf, into a board's inbox.

The rule: the root of before signs the one after it; nothing else of the old keys is needed any more but those of
snapshot and timestamp.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, MetaFile, Root

from agent.contract.targets import DESIRED_BIN_PREFIX, DESIRED_ROLE
from tests.update.world import Fleet, passphrase


def rotate(metadata: Path, fleet: Fleet) -> None:
    """Make the metadata of a push that of a fleet whose keys were rotated."""
    targets_key, desired_key = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    root: Metadata[Root] = Metadata[Root].from_file(str(metadata / "1.root.json"))
    root.signed.version = 2
    root.signed.revoke_key(root.signed.roles["targets"].keyids[0], "targets")
    root.signed.add_key(targets_key.public_key, "targets")
    root.sign(fleet.keys.signer("root", passphrase))
    root.to_file(str(metadata / "2.root.json"))

    snapshot: Metadata[Any] = Metadata.from_file(str(_newest(metadata, "snapshot")))
    bin_name = next(
        match[1]
        for path in metadata.iterdir()
        if (match := re.fullmatch(rf"\d+\.({DESIRED_BIN_PREFIX}-\w+)\.json", path.name))
    )
    for role, signer in ((bin_name, desired_key), (DESIRED_ROLE, desired_key), ("targets", targets_key)):
        signed: Metadata[Any] = Metadata.from_file(str(_newest(metadata, role)))
        delegations = signed.signed.delegations
        if delegations is not None:
            delegations.keys = {desired_key.public_key.keyid: desired_key.public_key}
            delegated = delegations.succinct_roles or delegations.roles[DESIRED_ROLE]
            delegated.keyids = [desired_key.public_key.keyid]
        snapshot.signed.meta[f"{role}.json"] = _sign(signed, role, signer, metadata)
    timestamp: Metadata[Any] = Metadata.from_file(str(metadata / "timestamp.json"))
    timestamp.signed.snapshot_meta = _sign(snapshot, "snapshot", fleet.keys.signer("snapshot"), metadata)
    timestamp.signed.version += 1
    timestamp.sign(fleet.keys.signer("timestamp"))
    timestamp.to_file(str(metadata / "timestamp.json"))


def _sign(metadata: Metadata[Any], role: str, signer: Signer, folder: Path) -> MetaFile:
    _newest(folder, role).unlink()
    metadata.signed.version += 1
    metadata.sign(signer)
    data = metadata.to_bytes()
    (folder / f"{metadata.signed.version}.{role}.json").write_bytes(data)
    return MetaFile.from_data(metadata.signed.version, data, ["sha256"])


def _newest(folder: Path, role: str) -> Path:
    return max(folder.glob(f"[0-9]*.{role}.json"), key=lambda path: int(path.name.partition(".")[0]))
