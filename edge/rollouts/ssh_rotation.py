"""Another SSH key for the fleet, board by board.

The rule: a board loses the former key only after it was opened with the new one alone; the former key is kept here
until that holds for every board of the inventory. What is interrupted goes on with the same command.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.contract.errors import EdgeError
from edge.config import lock
from edge.fleet.authorize import authorize, withdraw
from edge.fleet.connection import connect, log_in_with
from edge.identity.ssh_key import SshKey
from edge.rollouts.workspace import Workspace

BUSY_WAIT_S = 1.0
"""Another one asks all boards, which takes longer than anybody would wait."""


@dataclass(frozen=True, kw_only=True)
class Rekeyed:
    """What came of one board.

    Attributes:
        device: its name.
        problem: why it still needs the former key, or None: it takes the new one alone.
    """

    device: str
    problem: EdgeError | None = None


def replace_ssh_key(workspace: Workspace) -> tuple[Rekeyed, ...]:
    """Let all boards take a new key instead of the present one, `pool` at once.

    Boards that can't be reached keep the former key, and so does the fleet folder; the same command goes on with
    them, and every connection tries both until then.

    Raises:
        FleetFolderBusy: another one replaces the key already: of two, one could take the other's new key for the
            former, which boards need.
    """
    key = SshKey(workspace.folder.keys)
    with lock(workspace.folder.keys, wait_s=BUSY_WAIT_S):
        key.replace()
        with ThreadPoolExecutor(max_workers=workspace.folder.config.pool) as pool:
            found = tuple(pool.map(lambda name: _rekeyed(workspace, name, key), workspace.inventory.names()))
        if all(board.problem is None for board in found):
            key.forget_former()
    return found


def _rekeyed(workspace: Workspace, name: str, key: SshKey) -> Rekeyed:
    try:
        device = workspace.inventory.get(name)
        with connect(device, fleet=workspace.folder) as board:
            authorize(board, workspace.folder)
            log_in_with(device, key.current, timeouts=board.timeouts)
            if key.former is not None:
                withdraw(board, key.public_line(key.former))
    except EdgeError as error:
        return Rekeyed(device=name, problem=error)
    return Rekeyed(device=name)
