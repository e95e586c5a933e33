"""How this board reports, as the collector wrote it: read from `link/link.json`, watched.

The rule: what is written there is from outside. Where it is not valid that is said once, and the last valid one holds.
"""

from __future__ import annotations

import logging
from pathlib import Path

from agent.contract.codec import decode
from agent.contract.errors import ContractError, LinkConfigInvalid
from agent.contract.link import LinkConfig
from agent.watched_file import WatchedFile

LIMIT_BYTES = 256 * 1024
LOG = logging.getLogger("agent.link")


class Configuration:
    """The link's configuration as it is now.

    Attributes:
        now: the last valid one, or None where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, limit_bytes=LIMIT_BYTES)
        self.now: LinkConfig | None = None

    def changed(self) -> bool:
        """Look again. Whether there is another one now, or the same one written anew."""
        if not self._file.changed():
            return False
        try:
            data = self._file.read()
            found = None if data is None else _decoded(data)
        except (OSError, ValueError, ContractError) as error:
            LOG.warning("%s", LinkConfigInvalid(path=self._file.path, reason=str(error)))
            return False
        changed = found is not None or self.now is not None
        self.now = found
        return changed


def _decoded(data: bytes) -> LinkConfig:
    config = decode(LinkConfig, data, limit_bytes=LIMIT_BYTES)
    _ = config.address  # where it names none, it is not valid
    return config
