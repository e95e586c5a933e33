"""How what a board verified stands beside this folder's repository.

The rule: a board takes nothing that is older than what it knows. Where it has seen what this folder did not sign
(`edge.repository.versions`), the folder is behind: a copy, or another one is at work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.contract.errors import EdgeError
from agent.contract.messages import TrustedRole
from edge.rollouts.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Both sides, as role to version.

    Attributes:
        word: `same`; `ahead` where the folder has newer metadata; `behind` where the board saw what it did not sign;
            `other` where that is a root: it trusts other keys.
        unknown: roles of which it did.
    """

    word: str
    board: Mapping[str, int]
    folder: Mapping[str, int]
    unknown: tuple[str, ...]

    @property
    def differences(self) -> str:
        """`: timestamp 12 here, 14 there`, or nothing."""
        differing = [
            role
            for role, version in self.board.items()
            if role in self.unknown or version != self.folder.get(role)
        ]
        told = [
            f"{role} {self.folder.get(role, 'none')} here, {self.board[role]} there" for role in differing
        ]
        return f": {', '.join(told)}" if told else ""


def standing(workspace: Workspace, device_id: str, trust: Sequence[TrustedRole]) -> Standing | None:
    """Of the board with this id; None where it says nothing of what it trusts, or there is no repository to read."""
    if not trust:
        return None
    try:
        unknown = workspace.versions.ahead(trust)
        return compared(trust, workspace.repository.versions(device_id), unknown)
    except EdgeError:
        return None


def compared(trust: Sequence[TrustedRole], folder: Mapping[str, int], unknown: Collection[str]) -> Standing:
    """The same from what was read: the folder's versions, and the roles of which the board saw what it did not sign."""
    board = {role.role: role.version for role in trust}
    ahead = any(folder.get(role, 0) > version for role, version in board.items())
    seen = "other" if "root" in unknown else "behind"
    word = seen if unknown else "ahead" if ahead else "same"
    return Standing(word=word, board=board, folder=folder, unknown=tuple(unknown))
