"""The fleet folder and its `edge.toml`.

The rule: a folder is a fleet folder exactly when it holds a valid `edge.toml`, and commands find it from
below, as git finds its own. A setting that edge does not know is an error that says which one was meant,
never ignored.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from edge.suggestion import did_you_mean

EDGE_TOML = "edge.toml"
SUFFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
SUFFIX_LENGTH = 6
LONGEST_GIVEN_NAME = 64 - SUFFIX_LENGTH - 1
LOCK_WAIT_S = 10.0
LOCK_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class FleetConfig:
    """What `edge.toml` says.

    Attributes:
        fleet: the fleet's name with its random suffix.
        probation_s: how long a new generation must serve well before a board confirms it, in seconds.
        check_timeout_s: deadline of the check beside the old model, in seconds.
        start_timeout_s: deadline from switching to the first healthy answer, in seconds.
        agent_port: where agents listen on the board's loopback; 0 takes any free port.
        connect_timeout_s: deadline for an SSH connection, in seconds.
        pool: how many boards are worked on at once.
    """

    fleet: str
    probation_s: float = 10.0
    check_timeout_s: float = 300.0
    start_timeout_s: float = 120.0
    agent_port: int = 8470
    connect_timeout_s: float = 10.0
    pool: int = 16


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of `edge.toml`.

    Attributes:
        section, key: where it stands. field: its name in `FleetConfig`.
        kind: `str`, `int` or `float`.
        least, most: bounds of a number, both allowed.
        comment: for people, written above it.
    """

    section: str
    key: str
    field: str
    kind: type
    comment: str
    least: float = 0
    most: float = 0


SETTINGS = (
    Setting(
        section="fleet", key="name", field="fleet", kind=str,
        comment="Boards belong to the fleet of this name. Don't change it: they would refuse this folder.",
    ),
    Setting(
        section="flash", key="probation_s", field="probation_s", kind=float, least=0, most=86400,
        comment="A new generation must serve well for this long before a board confirms it.",
    ),
    Setting(
        section="flash", key="check_timeout_s", field="check_timeout_s", kind=float, least=1, most=86400,
        comment="The check beside the old model must be done by then.",
    ),
    Setting(
        section="flash", key="start_timeout_s", field="start_timeout_s", kind=float, least=1, most=86400,
        comment="The new generation's first healthy answer must come by then.",
    ),
    Setting(
        section="agent", key="port", field="agent_port", kind=int, least=0, most=65535,
        comment="Where agents listen on the board's loopback; 0 takes any free port.",
    ),
    Setting(
        section="ssh", key="connect_timeout_s", field="connect_timeout_s", kind=float, least=0.1, most=3600,
        comment="A board that did not answer by then is unreachable.",
    ),
    Setting(
        section="ssh", key="pool", field="pool", kind=int, least=1, most=256,
        comment="How many boards are worked on at once.",
    ),
)  # fmt: skip
"""Every setting there is: `edge.toml` is written and read by this list alone."""


def render(config: FleetConfig) -> str:
    """`edge.toml` with comments. Law: `parse(render(config)) == config`."""
    lines = [
        "# This folder's fleet. `edge` finds this file from every folder below.",
        "# Times are in seconds.",
    ]
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]"]
        value = getattr(config, setting.field)
        lines.append(f"# {setting.comment}")
        lines.append(f'{setting.key} = "{value}"' if setting.kind is str else f"{setting.key} = {value!r}")
    return "\n".join(lines) + "\n"


def parse(text: str, *, path: Path) -> FleetConfig:
    """The text of `edge.toml` to its settings; `path` is named in errors.

    Raises:
        ConfigInvalid: no TOML, a key that is not known or missing, a value of another kind or out of bounds.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(path=path, reason=str(error)) from error
    values: dict[str, Any] = {}
    sections = {setting.section for setting in SETTINGS}
    for section, content in document.items():
        if section not in sections:
            raise ConfigInvalid(
                path=path, reason=f"`{section}` is not known{did_you_mean(section, sections)}"
            )
        if not isinstance(content, dict):
            raise ConfigInvalid(path=path, reason=f"`{section}` must be a section, `[{section}]`")
        known = {setting.key: setting for setting in SETTINGS if setting.section == section}
        for key, value in content.items():
            if key not in known:
                raise ConfigInvalid(
                    path=path, reason=f"`{section}.{key}` is not known{did_you_mean(key, known)}"
                )
            values[known[key].field] = _checked(known[key], value, path)
    if "fleet" not in values:
        raise ConfigInvalid(path=path, reason="`fleet.name` is missing")
    return FleetConfig(**values)


def _checked(setting: Setting, value: Any, path: Path) -> Any:
    where = f"`{setting.section}.{setting.key}`"
    if setting.kind is str:
        if not isinstance(value, str):
            raise ConfigInvalid(path=path, reason=f"{where} must be a text, found {value!r}")
        try:
            return check_name(value, what="fleet")
        except NameInvalid as error:
            raise ConfigInvalid(path=path, reason=f"{where}: {error}") from error
    wanted = (int, float) if setting.kind is float else int
    if isinstance(value, bool) or not isinstance(value, wanted):
        word = "a number" if setting.kind is float else "a whole number"
        raise ConfigInvalid(path=path, reason=f"{where} must be {word}, found {value!r}")
    if not setting.least <= value <= setting.most:
        bounds = f"{setting.least:g} to {setting.most:g}"
        raise ConfigInvalid(path=path, reason=f"{where} must be {bounds}, found {value!r}")
    return setting.kind(value)


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
