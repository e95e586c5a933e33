"""How a board that is not in the inventory yet is named: `pi@raspberrypi.local:22`, or a name in `~/.ssh/config`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.contract.errors import OptionInvalid

_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^@:\s\[\]]+))(?::(?P<port>\d{1,5}))?\Z"
)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%:-]*\Z")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a board is, and what its host key must be.

    Attributes:
        host: name, IP address, or alias of `~/.ssh/config`.
        user, port: None leaves them to `~/.ssh/config`, then to this machine's user and 22.
        host_key: in OpenSSH's form, `ssh-ed25519 AAAA…`; None means that no key is known, so none is accepted.
        name: how sentences call the board.
    """

    host: str
    user: str | None = None
    port: int | None = None
    host_key: str | None = None
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """`[USER@]HOST[:PORT]`; an IPv6 address with a port stands in brackets.

        Raises:
            OptionInvalid: it is nothing of that form.
        """
        match = _ADDRESS.match(text)
        if match is None and text.count(":") > 1 and _PLAIN.match(text):
            return cls(host=text, name=text)
        if match is None:
            raise OptionInvalid(option=f"`{text}`", reason="an address is [USER@]HOST[:PORT]")
        host = match["six"] or match["host"]
        port = int(match["port"]) if match["port"] else None
        if not match["six"] and not _PLAIN.match(host):
            raise OptionInvalid(option=f"`{text}`", reason=f"`{host}` is no host name")
        if match["user"] and not _PLAIN.match(match["user"]):
            raise OptionInvalid(option=f"`{text}`", reason=f"`{match['user']}` is no user name")
        if port is not None and not 1 <= port <= 65535:
            raise OptionInvalid(option=f"`{text}`", reason=f"{port} is no port")
        return cls(host=host, user=match["user"], port=port, name=host)
