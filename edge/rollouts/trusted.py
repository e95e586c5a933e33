"""How what a board verified stands beside this folder's repository.

The rule: a board takes nothing that is older than what it knows; a folder that is behind in any role can't update it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.contract.errors import EdgeError
from agent.contract.messages import TrustedRole
from edge.rollouts.workspace import Workspace

_FILE = re.compile(r"(?P<version>[1-9][0-9]*)\.(?P<role>[a-z0-9-]+)\.json\Z")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Both sides, as role to version.

    Attributes:
        word: `same`; `ahead` where the folder has newer metadata; `behind` where it has older.
    """

    word: str
    board: Mapping[str, int]
    folder: Mapping[str, int]

    @property
    def differences(self) -> str:
        """`: timestamp 12 here, 14 there`, or nothing."""
        differing = [role for role in self.board if self.board[role] != self.folder.get(role)]
        told = ", ".join(
            f"{role} {self.folder.get(role, 'none')} here, {self.board[role]} there" for role in differing
        )
        return f": {told}" if told else ""


def standing(trust: Sequence[TrustedRole], folder: Mapping[str, int]) -> Standing | None:
    """Compare; None where the board says nothing of it, or the folder has no repository."""
    board = {role.role: role.version for role in trust}
    if not board or not folder:
        return None
    behind = any(folder.get(role, 0) < version for role, version in board.items())
    ahead = any(folder.get(role, 0) > version for role, version in board.items())
    return Standing(word="behind" if behind else "ahead" if ahead else "same", board=board, folder=folder)


def versions(workspace: Workspace, device_id: str) -> dict[str, int]:
    """Role to version, as the next push to this board would show them; nothing where there is none."""
    try:
        return dict(workspace.repository.versions(device_id))
    except EdgeError:
        return {}
