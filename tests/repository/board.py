"""A board that knows nothing but stock python-tuf: it reads an inbox, or a web server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from agent.contract.codec import decode, digest
from agent.contract.manifest import BundleManifest
from agent.contract.release import DesiredState
from agent.contract.runtime import RuntimeManifest
from agent.contract.targets import bundle_target, desired_target, runtime_target
from edge.repository import PushSet


class FolderFetcher(FetcherInterface):
    """Reads `file://` addresses; what is not there is HTTP's 404."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        if not path.is_file():
            raise DownloadHTTPError(f"no {path}", 404)
        yield path.read_bytes()


class Board:
    """An inbox and a cache of metadata, pinned to the first root that it was given."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self.device = device
        for part in ("inbox/metadata", "inbox/targets", "inbox/blobs", "cache", "targets"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def receive(self, push: PushSet) -> None:
        """What an SSH push does: all files by their names, nothing removed."""
        for part, files in (("metadata", push.metadata), ("targets", push.targets), ("blobs", push.blobs)):
            for name, source in files.items():
                path = self.folder / "inbox" / part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, path)

    def updater(self, base: str | None = None) -> Updater:
        root = self.folder / "root.json"
        if not root.exists():
            shutil.copyfile(self.folder / "inbox/metadata/1.root.json", root)
        base_url = base or f"file://{self.folder / 'inbox'}"
        return Updater(
            str(self.folder / "cache"), f"{base_url}/metadata/", str(self.folder / "targets"),
            f"{base_url}/targets/", fetcher=None if base else FolderFetcher(), bootstrap=root.read_bytes(),
        )  # fmt: skip

    def apply(self, base: str | None = None) -> DesiredState:
        """Verify the desired state and all that it names; returns it. Raises what python-tuf raises."""
        updater = self.updater(base)
        updater.refresh()
        state = decode(DesiredState, self.fetch(updater, desired_target(self.device)))
        runtime = decode(RuntimeManifest, self.fetch(updater, runtime_target(state.generation.runtime)))
        for layer in runtime.layers:
            self.check_blob(layer.sha256)
        for model in state.generation.models:
            manifest = decode(BundleManifest, self.fetch(updater, bundle_target(model.bundle)))
            for entry in manifest.files:
                self.check_blob(entry.sha256)
        return state

    def fetch(self, updater: Updater, target: str) -> bytes:
        info = updater.get_targetinfo(target)
        assert info is not None, f"{target} is not signed for"
        return Path(updater.download_target(info)).read_bytes()

    def check_blob(self, sha256: str) -> None:
        assert digest((self.folder / "inbox/blobs" / sha256).read_bytes()) == sha256


class Follower:
    """Stock python-tuf that reads the repository's folder itself, from the root that it was first given on."""

    def __init__(self, folder: Path, repository: Path, version: int = 1) -> None:
        self._folder = folder
        self._repository = repository
        self._root = (repository / f"metadata/{version}.root.json").read_bytes()
        (folder / "targets").mkdir(parents=True)

    def desired(self, device: str) -> DesiredState:
        """The verified desired state. Raises what python-tuf raises."""
        updater = Updater(
            str(self._folder), f"file://{self._repository}/metadata/", str(self._folder / "targets"),
            f"file://{self._repository}/targets/", fetcher=FolderFetcher(), bootstrap=self._root,
        )  # fmt: skip
        updater.refresh()
        info = updater.get_targetinfo(desired_target(device))
        assert info is not None
        state = decode(DesiredState, Path(updater.download_target(info)).read_bytes())
        for model in state.generation.models:
            assert updater.get_targetinfo(bundle_target(model.bundle)) is not None
        return state
