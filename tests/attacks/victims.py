"""Boards that serve something good, and what is to be said of an attack on one."""

from __future__ import annotations

import copy
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from agent.contract.messages import Reported
from agent.contract.release import DesiredState, Release
from agent.update import commands
from edge.config import FleetFolder
from edge.identity import KeyRing
from edge.repository import Repository
from tests.attacks.stolen import BIN, Books
from tests.update.world import Board, Fleet, passphrase

EXIT_CODES = {"update.inbox-incomplete": 4, "document.invalid": 1}
"""Of refusals; 3 for all others."""


class Nobody:
    """Runs no agent: what is accepted here is what runs already, so that nothing is tried."""

    def reload(self) -> None: ...
    def restart(self) -> None: ...
    def stop(self) -> None: ...


@dataclass
class Victim:
    """An enrolled board with its fleet. It serves generation 1 of `release`, and has no processes now.

    Attributes:
        better: a published release that no board runs yet. keys: all of the fleet's.
    """

    board: Board
    release: Release
    better: Release
    keys: dict[str, CryptoSigner]

    @property
    def fleet(self) -> Fleet:
        return self.board.fleet

    @property
    def inbox(self) -> Path:
        return self.board.root / "inbox"

    def copied(self, path: Path) -> Victim:
        """The same in folders of its own. What is large is shared: nothing writes into a blob or into a layer."""
        folder = path / "fleet"
        shutil.copytree(self.fleet.folder.path, folder, ignore=shutil.ignore_patterns("blobs"))
        shutil.copytree(
            self.fleet.folder.repository / "blobs", folder / "repository/blobs", copy_function=os.link
        )
        opened, keys = FleetFolder.open(folder), KeyRing(folder / "keys")
        repository = Repository(opened.repository, keys, passphrase)
        board = copy.copy(self.board)
        board.fleet = replace(self.fleet, folder=opened, keys=keys, repository=repository, work=path)
        board.root = path / "board"
        board.more_environment = {}
        root, layers = self.board.root, {self.fleet.agent.sha256, self.fleet.packages.sha256}

        def apart(folder: str, _: list[str]) -> set[str]:
            return {"run"} if Path(folder) == root else layers if Path(folder) == root / "objects" else set()

        shutil.copytree(root, board.root, symlinks=True, ignore=apart)
        for layer in layers:
            (board.root / "objects" / layer).symlink_to(root / "objects" / layer)
        (board.root / "run").mkdir()
        return Victim(board, self.release, self.better, self.keys)

    def same(self, counter: int, **changes: object) -> DesiredState:
        """A desired state of what runs here already: taken without a trial when it is believed."""
        return self.fleet.desired(counter, self.release, **changes)

    def pushed(self, counter: int) -> Books:
        """A good push of `same(counter)`, in the inbox, and its metadata to attack."""
        self.fleet.repository.assign(self.same(counter))
        self.board.push()
        return Books.of_fleet(self.fleet, self.keys)

    def ask(self, books: Books, counter: int, *changed: str) -> Books:
        """Assign `same(counter)` in books that may have left the repository's way, sign, and put them there."""
        books.assign(self.same(counter))
        books.sign(BIN, *changed).put(self.board, request=f"counter {counter}")
        return books

    def set_clock(self, seconds: float) -> None:
        """Let the board's clock show so many seconds more than this machine's, from now on, in its processes too."""
        file = self.board.root / "clock"
        file.with_suffix(".new").write_text(str(seconds))
        file.with_suffix(".new").rename(file)
        self.board.more_environment["EDGE_CLOCK_FILE"] = str(file)

    # --- what the update process makes of it -----------------------------------------------------------------

    def apply(self, *, really: bool = False) -> tuple[int, Reported]:
        """Exit code and report of the update process; `really`: through the launcher, in a process of its own."""
        if really:
            return self.board.apply(), self.board.report
        return commands.apply(self.board.root, service=Nobody()), self.board.report

    def refused(self, code: str | tuple[str, ...], *, really: bool = False) -> Reported:
        """That what the inbox asks for is refused, changes nothing, and is said with a fact and a way out."""
        before, running, request = self.state(), self.board.report, (self.inbox / "request").read_text()
        exit_code, report = self.apply(really=really)
        assert report.code in ((code,) if isinstance(code, str) else code), (report.code, report.message)
        assert exit_code == EXIT_CODES.get(str(report.code), 3)
        assert report.message
        assert report.hint
        assert (report.counter, report.state, report.current) == (
            running.counter,
            running.state,
            running.current,
        )
        assert report.request == request
        assert self.state() == before
        return report

    def accepted(self, counter: int, *, really: bool = False) -> Reported:
        """That what the inbox asks for is taken."""
        exit_code, report = self.apply(really=really)
        assert (exit_code, report.code, report.counter) == (0, None, counter), (report.code, report.message)
        return report

    def state(self) -> tuple[object, ...]:
        """What serving depends on, by names: objects, generations, links."""
        root = self.board.root
        folders = [
            sorted(path.name for path in (root / name).iterdir()) for name in ("objects", "generations")
        ]
        return (*folders, self.board.link("current"), self.board.link("trial"))
