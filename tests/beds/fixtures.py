"""The beds as pytest fixtures. A bed that this machine cannot give is a skip that states its reason.

Import what a test needs into the ``conftest.py`` of its folder, and mark the test::

    from tests.beds.fixtures import beds_swept, qemu_board, qemu_boards  # noqa: F401

    pytestmark = [pytest.mark.bed, pytest.mark.timeout(1800)]  # the first use may have to build
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.beds.arm64_chroot import arm64_root as prepare_arm64_root
from tests.beds.board import BedUnavailable, sweep
from tests.beds.qemu_board import Hardware, QemuBoard
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.beds.systemd_container import SystemdContainer

_T = TypeVar("_T")


class MakeSshd(Protocol):
    """Makes one more running board with sshd."""

    def __call__(self, name: str, options: SshdOptions | None = None) -> SshdBoard: ...


class MakeSystemd(Protocol):
    """Makes one more running container with systemd."""

    def __call__(self, name: str, *, suite: str = "bookworm") -> SystemdContainer: ...


class MakeQemu(Protocol):
    """Makes one more running emulated board."""

    def __call__(
        self,
        name: str,
        *,
        suite: str = "bookworm",
        hardware: Hardware | None = None,
        disk: Path | None = None,
    ) -> QemuBoard: ...


def or_skip(make: Callable[[], _T]) -> _T:
    """What ``make`` makes, or a skip where this machine cannot give it."""
    try:
        return make()
    except BedUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def beds_swept() -> None:
    """End and remove boards of test runs that were killed."""
    sweep()


@pytest.fixture
def sshd_boards(beds_swept: None) -> Iterator[MakeSshd]:
    """As many boards with sshd as a test asks for; half a second each."""
    with contextlib.ExitStack() as boards:

        def make(name: str, options: SshdOptions | None = None) -> SshdBoard:
            return boards.enter_context(or_skip(lambda: SshdBoard(name, options)))

        yield make


@pytest.fixture
def sshd_board(sshd_boards: MakeSshd) -> SshdBoard:
    """One running board with sshd."""
    return sshd_boards("board")


@pytest.fixture
def systemd_boards(beds_swept: None) -> Iterator[MakeSystemd]:
    """As many containers with systemd as a test asks for; a second each."""
    with contextlib.ExitStack() as boards:

        def make(name: str, *, suite: str = "bookworm") -> SystemdContainer:
            return boards.enter_context(or_skip(lambda: SystemdContainer(name, suite=suite)))

        yield make


@pytest.fixture
def systemd_board(systemd_boards: MakeSystemd) -> SystemdContainer:
    """One running, freshly installed container with systemd."""
    return systemd_boards("board")


@pytest.fixture(scope="module")
def qemu_boards(beds_swept: None) -> Iterator[MakeQemu]:
    """As many emulated boards as a module asks for; half a minute and 1 GiB of memory each."""
    with contextlib.ExitStack() as boards:

        def make(
            name: str,
            *,
            suite: str = "bookworm",
            hardware: Hardware | None = None,
            disk: Path | None = None,
        ) -> QemuBoard:
            return boards.enter_context(
                or_skip(lambda: QemuBoard(name, suite=suite, hardware=hardware, disk=disk))
            )

        yield make


@pytest.fixture(scope="module")
def qemu_board(qemu_boards: MakeQemu) -> QemuBoard:
    """One running emulated board, shared by the tests of a module: leave it on and reachable."""
    return qemu_boards("board")


@pytest.fixture(scope="session")
def arm64_root(beds_swept: None) -> Path:
    """The arm64 root file system for ``run_arm64``."""
    return or_skip(prepare_arm64_root)
