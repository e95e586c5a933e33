"""The fleet folder.

The rule: a folder is a fleet folder exactly when it holds a valid `edge.toml`, and commands find it from
below, as git finds its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import (
    ConfigInvalid,
    EdgeError,
    FleetFolderBusy,
    FleetFolderExists,
    FleetFolderMissing,
    NameInvalid,
)
from agent.contract.names import check_name
from edge import durable
from edge.settings import FleetConfig, parse, render

EDGE_TOML = "edge.toml"
SUFFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
SUFFIX_LENGTH = 6
LONGEST_GIVEN_NAME = 64 - SUFFIX_LENGTH - 1
LOCK_WAIT_S = 10.0
LOCK_POLL_S = 0.05


def fleet_name(given: str) -> str:
    """`given` with six random letters behind it, so that two fleets of one name are two fleets.

    Raises:
        NameInvalid: `given` can't be a name, or is longer than 57 letters.
    """
    check_name(given, what="fleet")
    if len(given) > LONGEST_GIVEN_NAME:
        raise NameInvalid(what="fleet", name=given, rule=f"at most {LONGEST_GIVEN_NAME} letters long")
    return f"{given}-{''.join(secrets.choice(SUFFIX_LETTERS) for _ in range(SUFFIX_LENGTH))}"


def name_of_folder(path: Path) -> str:
    """A fleet name made from a folder's: lower case, other letters to `-`; `fleet` where nothing is left."""
    plain = re.sub(r"[^a-z0-9]+", "-", path.name.lower())[:LONGEST_GIVEN_NAME].strip("-")
    return plain or "fleet"


@dataclass(frozen=True)
class FleetFolder:
    """A folder with `edge.toml`, the keys, the devices and the signed repository of one fleet.

    Attributes:
        path: the folder, absolute.
        config: what its `edge.toml` says.
    """

    path: Path
    config: FleetConfig

    @classmethod
    def find(cls, start: Path | None = None) -> FleetFolder:
        """The fleet folder that `start` (here, unless said otherwise) is or lies in.

        Raises:
            FleetFolderMissing: neither it nor a folder above it is one.
            ConfigInvalid: its `edge.toml` is not valid.
        """
        begin = (start or Path()).resolve()
        for folder in (begin, *begin.parents):
            if (folder / EDGE_TOML).is_file():
                return cls.open(folder)
        raise FleetFolderMissing(start=begin)

    @classmethod
    def open(cls, path: Path) -> FleetFolder:
        """The fleet folder at `path` itself.

        Raises:
            FleetFolderMissing: it is none.
            ConfigInvalid: its `edge.toml` is not valid.
        """
        toml = path.resolve() / EDGE_TOML
        try:
            text = toml.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise FleetFolderMissing(start=path.resolve()) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(path=toml, reason=str(error)) from error
        return cls(toml.parent, parse(text, path=toml))

    @classmethod
    def create(cls, path: Path, name: str | None = None) -> FleetFolder:
        """Make a fleet folder, `edge.toml` last, so that what was interrupted is no fleet folder yet.

        Args:
            path: made where it is missing.
            name: the fleet's name without its suffix; the folder's name unless it is given.

        Raises:
            FleetFolderExists: it is one already.
            NameInvalid: `name` can't be a fleet's name.
        """
        path = path.resolve()
        if (path / EDGE_TOML).exists():
            raise FleetFolderExists(path=path)
        config = FleetConfig(fleet=fleet_name(name if name is not None else name_of_folder(path)))
        folder = cls(path, config)
        durable.make_folder(path)
        durable.make_folder(folder.keys, mode=0o700)
        for part in (folder.devices, folder.repository):
            durable.make_folder(part)
        try:
            durable.write_new(folder.edge_toml, render(config).encode())
        except FileExistsError as error:
            raise FleetFolderExists(path=path) from error
        return folder

    @property
    def edge_toml(self) -> Path:
        """Its settings."""
        return self.path / EDGE_TOML

    @property
    def keys(self) -> Path:
        """Private keys; mode 0700."""
        return self.path / "keys"

    @property
    def key_folders(self) -> tuple[Path, ...]:
        """Further folders that may hold private keys."""
        return tuple(self.path / Path(folder).expanduser() for folder in self.config.key_folders)

    @property
    def devices(self) -> Path:
        """The inventory: one JSON file a device."""
        return self.path / "devices"

    @property
    def repository(self) -> Path:
        """The signed repository."""
        return self.path / "repository"

    @property
    def cache(self) -> Path:
        """What can be made again."""
        return self.path / "cache"

    @property
    def locks(self) -> Path:
        """Files that commands hold while they are at work; empty."""
        return self.cache / "locks"

    @property
    def profiles(self) -> Path:
        """The user's own device profiles."""
        return self.path / "device_profiles"

    @property
    def sims(self) -> Path:
        """The simulated boards."""
        return self.path / "sims"

    @property
    def telemetry(self) -> Path:
        """What boards reported, and the collector that takes it; mode 0700."""
        return self.path / "telemetry"

    @property
    def store(self) -> Path:
        """The telemetry store."""
        return self.telemetry / "store.sqlite"

    @property
    def rollouts(self) -> Path:
        """A folder for each rollout: its plan and its journal."""
        return self.path / "rollouts"

    @property
    def known_hosts(self) -> Path:
        """Pinned host keys in OpenSSH's form, written from the inventory."""
        return self.path / "known_hosts"

    def lock(self, *, wait_s: float = LOCK_WAIT_S) -> contextlib.AbstractContextManager[None]:
        """`lock` of this folder."""
        return lock(self.path, wait_s=wait_s)


def cache_dir() -> Path:
    """The cache that all fleets of this user share: `$EDGE_CACHE`, else `edge` in the user's cache folder."""
    if chosen := os.environ.get("EDGE_CACHE"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edge"


def frameworks_dir() -> Path:
    """Where the frameworks' own environments lie."""
    return cache_dir() / "frameworks"


def conversions_dir() -> Path:
    """Where what conversions made is kept."""
    return cache_dir() / "conversions"


def log_file(name: str) -> Path:
    """A new file for what a process of edge says, its folder made."""
    folder = cache_dir() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.log"


@contextlib.contextmanager
def lock(
    folder: Path, *, wait_s: float = LOCK_WAIT_S, file: str = ".lock", busy: EdgeError | None = None
) -> Iterator[None]:
    """Hold `folder` alone, against other processes and other threads; a dead holder holds nothing.

    Args:
        folder: where the lock's file lies.
        wait_s: how long to wait for another holder, in seconds.
        file: name of the lock's file.
        busy: raised instead of FleetFolderBusy.

    Raises:
        FleetFolderBusy: someone else still held it after `wait_s` seconds.
    """
    descriptor = os.open(folder / file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not _held(descriptor):
            if time.monotonic() >= deadline:
                raise busy or FleetFolderBusy(path=folder)
            time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
