"""A bare board to an enrolled one: stage the inbox, send the runtime, hand over to the agent's own installer.

The rule: the board runs nothing that was not compared with the digest that this machine computed; root is needed
once, here, and later pushes need none. What was cut is done again from where it stopped.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.contract.board import (
    SERVICE_SUPERVISOR,
    SERVICE_SYSTEMD,
    SERVICE_SYSTEMD_USER,
    SYSTEM_ROOT,
    USER_ROOT,
)
from agent.contract.codec import encode, from_plain
from agent.contract.errors import DeadlinePassed, DigestMismatch, InstallFailed
from agent.contract.install import Enrolment, InstallRequest
from agent.contract.profile import BoardFacts
from edge.fleet.connection import Board
from edge.fleet.onboard import script
from edge.fleet.remote_error import raise_remote
from edge.fleet.session import Limits
from edge.fleet.upload import Sent, blob, upload
from edge.progress import Progress

INSTALL_TIMEOUT_S = 900.0
"""Unpacking 200 MB onto an old SD card takes minutes."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where edge lives on a board, and who keeps it running.

    Attributes:
        root: edge's folder on the board, absolute.
        service: one of `agent.contract.board.SERVICES`.
        sudo: becoming root is needed for install and removal.
        note: what the user should know of it, or an empty string.
    """

    root: str
    service: str
    sudo: bool
    note: str = ""


def choose_placement(facts: BoardFacts, *, user_install: bool = False) -> Placement:
    """Root's place where it can be had, the user's where not.

    Args:
        facts: of the board.
        user_install: the user asked for an installation without root.
    """
    own = f"{facts.home.rstrip('/') or ''}/{USER_ROOT}"
    if facts.simulated:
        return Placement(root=own, service=SERVICE_SUPERVISOR, sudo=False)
    if facts.systemd and not user_install and facts.sudo != "none":
        return Placement(root=SYSTEM_ROOT, service=SERVICE_SYSTEMD, sudo=facts.sudo != "root")
    note = (
        "without root the agent and its updater are the same user, so what serves could change what is served"
    )
    if facts.systemd and facts.user != "root":
        return Placement(root=own, service=SERVICE_SYSTEMD_USER, sudo=False, note=note)
    return Placement(
        root=own, service=SERVICE_SUPERVISOR, sudo=False, note=note if facts.user != "root" else ""
    )


def stage(board: Board, placement: Placement) -> None:
    """Make the inbox and give it to the board's user. The one step that needs root, besides `install`.

    Raises:
        SudoRefused: root is needed and refused.
        RemoteCommandFailed: the folder can't be made.
    """
    board.python(
        script("stage"),
        {"root": placement.root, "user": board.user},
        doing="making the inbox",
        sudo=placement.sudo,
    )


def send_runtime(
    board: Board,
    placement: Placement,
    *,
    request: InstallRequest,
    blobs: Mapping[str, Path],
    progress: Progress | None = None,
) -> Sent:
    """Bring the runtime's layers and its manifest into the inbox.

    Args:
        board: where to.
        placement: where on it; `stage` was there.
        request: names the runtime.
        blobs: SHA-256 to file, the manifest's stored bytes among them.
        progress: is told of the bytes that the board has written.

    Raises:
        RemoteDiskFull, DigestMismatch, ConnectionLost, DeadlinePassed: as `upload`.
    """
    layers = {layer.sha256 for layer in request.runtime.layers}
    uploads = [
        # The agent's own layer is always sent: the installer is run from it
        blob(sha256, path, inside=(sha256,) if sha256 in layers and sha256 != _agent(request) else ())
        for sha256, path in sorted(blobs.items())
    ]
    unpacked = sum(layer.unpacked_bytes for layer in request.runtime.layers)
    return upload(board, placement.root, uploads, what="the runtime", progress=progress, spare_bytes=unpacked)


def enrol(board: Board, placement: Placement, request: InstallRequest) -> Enrolment:
    """Run the installer out of the agent's layer, after its bytes were compared with their digest on the board.

    Raises:
        DigestMismatch: the layer on the board is not the one that was sent.
        BoardForeign, BoardCloned, InstallFailed, …: what the installer says.
        SudoRefused: root is needed and refused.
    """
    agent = _agent(request)
    asked = {
        "layer": f"{placement.root}/inbox/blobs/{agent}",
        "sha256": agent,
        "root": placement.root,
        "request": base64.b64encode(encode(request)).decode(),
    }
    try:
        answer = board.python(
            script("enrol"),
            asked,
            doing="installing",
            sudo=placement.sudo,
            limits=Limits(whole_s=INSTALL_TIMEOUT_S),
        )
    except DeadlinePassed as error:
        raise InstallFailed(
            host=board.name, step="the installer", reason=f"it was not done in {INSTALL_TIMEOUT_S:g} s"
        ) from error
    if answer.get("damaged"):
        raise DigestMismatch(file=asked["layer"], expected=agent, found=answer["damaged"])
    if answer.get("enrolment") is None:
        raise_remote(answer, host=board.name, step="the installer")
    return from_plain(Enrolment, answer["enrolment"])


def _agent(request: InstallRequest) -> str:
    return request.runtime.layers[0].sha256
