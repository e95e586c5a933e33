"""Which boards were told where the user's own broker is, so that not every start asks each of them over SSH.

The rule: a note means that the board had exactly this; whoever enrols a board anew takes the note away.
"""

from __future__ import annotations

from pathlib import Path

from agent.contract.codec import digest, encode
from agent.contract.link import LinkConfig
from edge import durable


class Delivered:
    """A folder with one small file for each board."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, device_id: str, link: LinkConfig) -> bool:
        """Whether the board was told this."""
        try:
            return (self._folder / device_id).read_text() == digest(encode(link))
        except (OSError, UnicodeDecodeError):
            return False

    def note(self, device_id: str, link: LinkConfig) -> None:
        """It was told this."""
        durable.make_folder(self._folder)
        durable.write(self._folder / device_id, digest(encode(link)).encode())

    def forget(self, device_id: str) -> None:
        """It may not know it any more."""
        (self._folder / device_id).unlink(missing_ok=True)
