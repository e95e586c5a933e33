"""Opening a board to other machines, and shutting it again.

The rule: a token is made here, shown once, and kept nowhere. The door counts as open, or shut, when the board's agent
says so itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.contract.board import RunningAgent
from agent.contract.door import DoorConfig, Scope, Token
from agent.contract.errors import BoardNotFlashed, DoorShut, DoorUnanswered, OptionInvalid, TokenUnknown
from agent.contract.link import BROKER_NAME
from edge.certificates import CERTIFICATE, CertificateAuthority
from edge.fleet.connection import Board, connect
from edge.fleet.door import DoorFound, read_door, write_door
from edge.fleet.status import read_status
from edge.inventory import Device
from edge.rollouts.workspace import Workspace

TOKEN_BYTES = 32
ANSWER_S = 12.0
"""The agent looks every second; where it must end clients' connections first, it takes a little longer."""
ASK_S = 0.5
HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An open door.

    Attributes:
        config: as it lies on the board. url: what clients begin with. authority: file of the CA that they trust.
        name: of the token. token: the only time that it is shown.
    """

    config: DoorConfig
    url: str
    authority: Path
    name: str
    token: str


def open_door(
    workspace: Workspace,
    device_name: str,
    *,
    address: str | None = None,
    port: int | None = None,
    token_name: str,
    scope: Scope = Scope.INFER,
    reached_as: Sequence[str] = (),
) -> Opened:
    """Open a board's door, or give one that is open another token.

    Args:
        workspace: the fleet folder.
        device_name: the board.
        address: where its agent is to listen; None for where it does already, else everywhere.
        port: as `address`; else the usual one.
        token_name: of the token that is made; one of that name is valid no more.
        scope: what it opens.
        reached_as: more names and addresses that clients use for the board.

    Raises:
        BoardNotFlashed, LinkNotReady: there is no agent, or no key, on it.
        DoorShut: the agent can't open it. DoorUnanswered: it does not say.
        TransferError: on the way.
    """
    for name in reached_as:
        if name == BROKER_NAME or not HOST_NAME.fullmatch(name):
            raise OptionInvalid(option="--as", reason=f"`{name}` is no name or address of a board")
    device = _flashed(workspace, device_name)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    entry = Token(token_name, hashlib.sha256(token.encode()).hexdigest(), scope, int(time.time()))
    authority = CertificateAuthority(workspace.folder.keys)
    with workspace.inventory.hold(device_name), connect(device, fleet=workspace.folder) as board:
        found = read_door(board, _root(device))
        before = found.config
        others = () if before is None else tuple(each for each in before.tokens if each.name != token_name)
        config = DoorConfig(
            address=address or (before.address if before is not None else "0.0.0.0"),
            port=port or (before.port if before is not None else DoorConfig.port),
            certificate=_certificate(authority, device, found, reached_as),
            tokens=(*others, entry),
        )
        seen = write_door(board, _root(device), config)
        _wait(board, device, "open", lambda agent: agent.door is not None and agent.door.seen == seen)
    host = f"[{device.host}]" if ":" in device.host else device.host
    return Opened(
        config=config,
        url=f"https://{host}:{config.port}",
        authority=workspace.folder.keys / CERTIFICATE,
        name=token_name,
        token=token,
    )


def _certificate(
    authority: CertificateAuthority, device: Device, found: DoorFound, reached_as: Sequence[str]
) -> str:
    """The certificate that the board has, where it is still good and says all names; else one that does."""
    there = found.config.certificate if found.config is not None else ""
    known = authority.names_of(there, device.device_id, found.public_key)
    wanted = (device.host, device.name, *reached_as)
    if known and set(wanted) <= set(known):
        return there
    return authority.certify_server(device.device_id, found.public_key, (*wanted, *known))


def close_door(workspace: Workspace, device_name: str, *, token_name: str | None = None) -> DoorConfig | None:
    """Shut a board's door, or take one token's way in; the last one's shuts it. Returns what is left of it.

    Raises:
        TokenUnknown: there is none of that name.
        BoardNotFlashed, LinkNotReady, DoorShut, DoorUnanswered, TransferError: as `open_door`.
    """
    device = _flashed(workspace, device_name)
    with workspace.inventory.hold(device_name), connect(device, fleet=workspace.folder) as board:
        before = read_door(board, _root(device)).config
        left = None
        if token_name is not None:
            tokens = before.tokens if before is not None else ()
            kept = tuple(each for each in tokens if each.name != token_name)
            if before is None or len(kept) == len(tokens):
                known = ", ".join(f"`{each.name}`" for each in tokens) or "none"
                raise TokenUnknown(device=device_name, name=token_name, known=known)
            left = dataclasses.replace(before, tokens=kept) if kept else None
        seen = write_door(board, _root(device), left)
        _wait(
            board,
            device,
            "shut" if left is None else "open",
            lambda agent: (agent.door.seen if agent.door is not None else None) == seen,
        )
    return left


def _wait(board: Board, device: Device, wanted: str, done: Callable[[RunningAgent], bool]) -> None:
    """Wait until the agent says that it has done it. An agent that does not run will, when it starts."""
    end = time.monotonic() + ANSWER_S
    while True:
        status = read_status(board, _root(device))
        if status.agent is None or not status.agent_alive:
            return
        if done(status.agent):
            if status.agent.door is not None and status.agent.door.error is not None:
                raise DoorShut(reason=status.agent.door.error.get("facts", {}).get("reason", "unknown"))
            return
        if time.monotonic() > end:
            raise DoorUnanswered(device=device.name, timeout_s=f"{ANSWER_S:g}", wanted=wanted)
        time.sleep(ASK_S)


def _flashed(workspace: Workspace, name: str) -> Device:
    device = workspace.inventory.get(name)
    if device.root is None:
        raise BoardNotFlashed(device=name)
    return device


def _root(device: Device) -> str:
    assert device.root is not None
    return device.root
