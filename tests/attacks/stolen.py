"""The signed metadata of a board's push, in memory: what somebody can make of them who holds some of the fleet's keys.

Everything here is python-tuf alone, so that what edge would refuse to sign is signed all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from agent.contract.codec import encode
from agent.contract.release import DesiredState
from agent.contract.targets import DESIRED_ROLE, desired_target
from tests.update.world import DEVICE, Board, Fleet, passphrase

BIN = "bin"
"""How the hash bin of the board is called here."""
ROLES = ("root", "timestamp", "snapshot", "targets", DESIRED_ROLE, BIN)
LEAF_FIRST = (BIN, DESIRED_ROLE, "targets")


def stranger() -> CryptoSigner:
    """A key that the fleet never named."""
    return CryptoSigner.generate_ed25519()


def keys_of(fleet: Fleet) -> dict[str, CryptoSigner]:
    """All of a fleet's keys. To open those that are encrypted takes a second, on purpose."""
    return {role: fleet.keys.signer(role, passphrase) for role in ROLES if role != BIN}


@dataclass
class Books:
    """Root, timestamp, snapshot, targets, `desired` and the board's bin, and who signs for each.

    Attributes:
        roots: the chain, oldest first. of: the other roles by name.
        keys: role to those who sign for it; the bin's are those of `desired`.
        documents: targets that are to lie in the inbox beside those that the push brought.
        unlike: role to bytes that are written in its place, whatever was signed.
    """

    roots: list[Metadata[Root]]
    of: dict[str, Metadata[Any]]
    keys: dict[str, list[CryptoSigner]]
    bin_name: str
    documents: dict[str, bytes]
    unlike: dict[str, bytes]

    @classmethod
    def of_fleet(cls, fleet: Fleet, keys: dict[str, CryptoSigner]) -> Books:
        """As the repository holds them; `keys` are all of the fleet's."""
        folder = fleet.folder.repository / "metadata"
        roots = [
            Metadata[Root].from_bytes((folder / f"{number}.root.json").read_bytes())
            for number in range(1, 1 + len(list(folder.glob("[0-9]*.root.json"))))
        ]
        timestamp = Metadata[Timestamp].from_bytes((folder / "timestamp.json").read_bytes())
        version = timestamp.signed.snapshot_meta.version
        snapshot = Metadata[Snapshot].from_bytes((folder / f"{version}.snapshot.json").read_bytes())

        def read(role: str) -> Metadata[Targets]:
            number = snapshot.signed.meta[f"{role}.json"].version
            return Metadata[Targets].from_bytes((folder / f"{number}.{role}.json").read_bytes())

        desired = read(DESIRED_ROLE)
        assert desired.signed.delegations is not None
        assert desired.signed.delegations.succinct_roles is not None
        name = desired.signed.delegations.succinct_roles.get_role_for_target(desired_target(DEVICE))
        of = {"timestamp": timestamp, "snapshot": snapshot, "targets": read("targets"), DESIRED_ROLE: desired,
              BIN: read(name)}  # fmt: skip
        return cls(roots, of, {role: [key] for role, key in keys.items()}, name, {}, {})

    def signed(self, role: str) -> Any:
        """The part of a role's metadata that is signed, to be changed. For the root: the newest."""
        return (self.roots[-1] if role == "root" else self.of[role]).signed

    def signers(self, role: str) -> list[CryptoSigner]:
        return self.keys[DESIRED_ROLE if role == BIN else role]

    def name(self, role: str) -> str:
        """As files and delegations call it."""
        return self.bin_name if role == BIN else role

    # --- changes ---------------------------------------------------------------------------------------------

    def assign(self, state: DesiredState) -> None:
        """Put a desired state of any content into the bin, under this board's name."""
        self.target(BIN, desired_target(DEVICE), encode(state))

    def target(self, role: str, path: str, data: bytes) -> TargetFile:
        """Let a role name a target, and put its bytes into the inbox."""
        target = TargetFile.from_data(path, data, ["sha256"])
        self.signed(role).targets[path] = target
        head, _, tail = path.rpartition("/")
        self.documents[f"{head}/{target.hashes['sha256']}.{tail}"] = data
        return target

    def sign(self, *changed: str, bump: bool = True) -> Books:
        """Sign roles anew, and each that says something about them: as the true keys' holders would.

        Args:
            changed: of ROLES but `root`. bump: give each the next version; otherwise versions are as they were set.
        """
        for role in LEAF_FIRST:
            if role in changed:
                self.sign_one(role, bump=bump)
        self.sign_one("snapshot", bump=bump)
        self.sign_one("timestamp", bump=bump)
        return self

    def sign_one(self, role: str, *, bump: bool = True, signers: list[CryptoSigner] | None = None) -> None:
        """Sign one role, and tell the one above it, which is not signed for that."""
        metadata = self.of[role]
        metadata.signed.version += bump
        metadata.signatures.clear()
        for signer in self.signers(role) if signers is None else signers:
            metadata.sign(signer, append=True)
        meta = MetaFile.from_data(metadata.signed.version, metadata.to_bytes(), ["sha256"])
        if role == "snapshot":
            self.signed("timestamp").snapshot_meta = meta
        elif role != "timestamp":
            self.signed("snapshot").meta[f"{self.name(role)}.json"] = meta

    def vouch(self, role: str) -> None:
        """Let snapshot and timestamp name a role's bytes as they are written in its place."""
        if role in ("root", "timestamp"):
            return
        meta = MetaFile.from_data(self.signed(role).version, self.unlike[role], ["sha256"])
        if role == "snapshot":
            self.signed("timestamp").snapshot_meta = meta
        else:
            self.signed("snapshot").meta[f"{self.name(role)}.json"] = meta
            self.sign_one("snapshot", bump=False)
        self.sign_one("timestamp", bump=False)

    @contextmanager
    def next_root(self) -> Iterator[Root]:
        """Change a copy of the newest root; it is signed by the keys of both when the context ends."""
        before = list(self.keys["root"])
        root = Metadata[Root].from_bytes(self.roots[-1].to_bytes())
        root.signatures.clear()
        root.signed.version += 1
        yield root.signed
        for signer in {each.public_key.keyid: each for each in (*before, *self.keys["root"])}.values():
            root.sign(signer, append=True)
        self.roots.append(root)

    def rotate(self, *roles: str, count: int = 1, threshold: int = 1) -> None:
        """Give roles new keys, of which `threshold` must sign, and sign all that this concerns."""
        top = [role for role in roles if role != DESIRED_ROLE]
        if top:
            with self.next_root() as root:
                for role in top:
                    for keyid in list(root.roles[role].keyids):
                        root.revoke_key(keyid, role)
                    self.keys[role] = [stranger() for _ in range(count)]
                    for signer in self.keys[role]:
                        root.add_key(signer.public_key, role)
                    root.roles[role].threshold = threshold
        if DESIRED_ROLE in roles:
            self.keys[DESIRED_ROLE] = [stranger() for _ in range(count)]
            known = {signer.public_key.keyid: signer.public_key for signer in self.keys[DESIRED_ROLE]}
            for delegator, role in (
                (self.signed("targets").delegations, self.signed("targets").delegations.roles[DESIRED_ROLE]),
                (self.signed(DESIRED_ROLE).delegations, self.signed(DESIRED_ROLE).delegations.succinct_roles),
            ):
                delegator.keys, role.keyids, role.threshold = known, list(known), threshold
        self.sign(*LEAF_FIRST)

    def expire(self, role: str, *, days: float = -1) -> None:
        """Let a role end so many days from now."""
        self.signed(role).expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)

    # --- the way to the board --------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """File names of the inbox to bytes."""
        found = {f"metadata/{root.signed.version}.root.json": root.to_bytes() for root in self.roots}
        for role, metadata in self.of.items():
            version = "" if role == "timestamp" else f"{metadata.signed.version}."
            found[f"metadata/{version}{self.name(role)}.json"] = self.unlike.get(role, metadata.to_bytes())
        if "root" in self.unlike:
            found[f"metadata/{self.roots[-1].signed.version}.root.json"] = self.unlike["root"]
        return found | {f"targets/{path}": data for path, data in self.documents.items()}

    def put(self, board: Board, request: str = "attack") -> None:
        """Write them into a board's inbox, over what a push brought, and ask."""
        for name, data in self.files().items():
            write(board.root / "inbox" / name, data)
        write(board.root / "inbox" / "request", request.encode())


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
