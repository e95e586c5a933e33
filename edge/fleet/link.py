"""Telling a board how to report: `link/link.json`, over SSH.

The rule: the board's key never leaves it; what it gets is a certificate for it, and the same one again as long as that
is good, so that what did not change is not written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.contract.codec import decode, to_plain
from agent.contract.errors import EdgeError, LinkNotReady
from agent.contract.link import LinkConfig
from edge.certificates import CertificateAuthority
from edge.fleet.connection import Board
from edge.fleet.onboard import script

PUBLIC_KEY_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class LinkWritten:
    """What came of it.

    Attributes:
        link: as it lies on the board now, its session not filled in.
        written: it was another one before.
        ended: process id of the old session that still held a port, or None.
    """

    link: LinkConfig
    written: bool
    ended: int | None


def write_link(
    board: Board,
    root: str,
    link: LinkConfig,
    *,
    device_id: str,
    authority: CertificateAuthority,
    tunnel: bool,
) -> LinkWritten:
    """Have `link`, with a certificate for the board's own key, lie on the board.

    Args:
        board: the connection; with `tunnel`, the one that holds the port that `link` names.
        root: edge's folder on the board.
        link: all but `certificate` and `session`.
        device_id: whom the certificate names.
        authority: of the fleet's certificates.
        tunnel: the link leads through this connection, so that its session is named, and an older one ended.

    Raises:
        LinkNotReady: the board has no key or no place for it.
        KeyUnreadable: what it has is no key that can be certified.
        ConnectionLost, DeadlinePassed, RemoteCommandFailed: on the way.
    """
    found = board.python(script("link"), {"root": root}, doing="reading its link")
    public_key = found["public_key"]
    if not public_key or not found["folder"]:
        raise LinkNotReady(device=board.name)
    certificate = _kept(found["link"], device_id, public_key, authority)
    full = replace(
        link, certificate=certificate or authority.certify(device_id, public_key[:PUBLIC_KEY_BYTES])
    )
    done = board.python(
        script("link"),
        {"root": root, "link": to_plain(full), "tunnel": tunnel},
        doing="writing its link",
    )
    return LinkWritten(link=full, written=bool(done["written"]), ended=done["ended"])


def _kept(text: str | None, device_id: str, public_key: str, authority: CertificateAuthority) -> str | None:
    """The certificate that the board has, where it is still good."""
    try:
        certificate = decode(LinkConfig, (text or "").encode()).certificate
    except EdgeError:
        return None
    return certificate if authority.certified(certificate, device_id, public_key) else None
