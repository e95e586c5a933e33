"""What a command works on: a fleet folder with its inventory, keys, profiles and repository, opened once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent.contract.profile import DeviceProfile
from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.inventory import Inventory
from edge.profiles import load_profiles, profile_named
from edge.repository import Repository
from edge.repository.versions import Versions


@dataclass(frozen=True)
class Workspace:
    """An opened fleet folder.

    Attributes:
        folder: the fleet folder.
        passphrase: asked for a role's passphrase when an encrypted key is needed, and only then.
    """

    folder: FleetFolder
    passphrase: Callable[[str], str]

    @classmethod
    def find(cls, passphrase: Callable[[str], str], start: Path | None = None) -> Workspace:
        """The workspace of the fleet folder that `start` (here, unless said otherwise) lies in.

        Raises:
            FleetFolderMissing, ConfigInvalid: as `FleetFolder.find`.
        """
        return cls(FleetFolder.find(start), passphrase)

    @cached_property
    def inventory(self) -> Inventory:
        """The fleet's devices."""
        return Inventory(self.folder)

    @cached_property
    def keys(self) -> KeyRing:
        """The fleet's keys."""
        return KeyRing(self.folder.keys, self.folder.key_folders)

    @cached_property
    def repository(self) -> Repository:
        """The signed repository."""
        return Repository.open(self.folder.repository, self.keys, self.passphrase)

    @cached_property
    def versions(self) -> Versions:
        """Of the signed repository, against what boards have seen."""
        return Versions(self.folder.repository, self.keys, self.passphrase)

    @cached_property
    def profiles(self) -> Mapping[str, DeviceProfile]:
        """Built-in and the folder's own profiles by name; the folder's win."""
        return load_profiles(self.folder)

    def profile(self, name: str) -> DeviceProfile:
        """The profile called `name`.

        Raises:
            ProfileUnknown: there is none.
        """
        return profile_named(name, self.profiles)
