"""The board's folder as the update process knows it: the paths that serving needs, and those that it does not."""

from __future__ import annotations

from pathlib import Path

from agent.config import BoardFolder

TUF_ROOTS = "root_history"
"""Where python-tuf keeps every root that it has verified, in the folder of its metadata."""


class UpdateFolder(BoardFolder):
    """Paths inside a board's folder, as `agent.contract.board` names them."""

    @property
    def bootstrap(self) -> Path:
        return self.root / "bootstrap"

    @property
    def tuf_root(self) -> Path:
        return self.root / "root.json"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def generations(self) -> Path:
        return self.root / "generations"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def record(self) -> Path:
        return self.state / "update.json"

    @property
    def device_key(self) -> Path:
        return self.state / "device.key"

    @property
    def device_public_key(self) -> Path:
        return self.state / "device.pub"

    @property
    def tuf_metadata(self) -> Path:
        return self.state / "tuf"

    @property
    def tuf_roots(self) -> Path:
        return self.tuf_metadata / TUF_ROOTS

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def install_lock(self) -> Path:
        """Held by the installer, which begins before there is a `state/`."""
        return self.root / "install.lock"

    @property
    def resume(self) -> Path:
        """There while an interrupted update waits to be carried on; starts the update process like a request."""
        return self.state / "resume"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def request(self) -> Path:
        return self.inbox / "request"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def supervisor(self) -> Path:
        return self.run / "supervisor.json"

    def linked(self, link: Path) -> int | None:
        """Number of the generation that `current` or `trial` leads to; None where there is no such link."""
        if not link.is_symlink():
            return None
        name = link.readlink().name
        return int(name) if name.isascii() and name.isdigit() else None
