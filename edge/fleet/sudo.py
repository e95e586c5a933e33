"""Root on a board by sudo, with a password or without.

The rule: the password goes in by standard input and nowhere else; never into an argument, a log or a file. It is
tried once, alone, before anything is given to a command, so that a wrong one never makes sudo take the command's
input for a second try.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from agent.contract.errors import SudoRefused
from edge.fleet.session import CommandResult

Run = Callable[..., CommandResult]
"""`run(argv, input=bytes, timeout_s=float)` without sudo."""

_ASK = (
    'if [ "$(id -u)" = 0 ]; then echo root; '
    "elif ! command -v sudo >/dev/null 2>&1; then echo none; "
    "elif env LC_ALL=C sudo -k -n true >/dev/null 2>&1; then echo free; else echo password; fi"
)


class SudoWay(enum.Enum):
    """How this user becomes root."""

    ROOT = "root"
    FREE = "free"
    PASSWORD = "password"
    NONE = "none"


def way_to_root(run: Run) -> SudoWay:
    """How the user of this connection becomes root; no password is tried."""
    said = run(["sh", "-c", _ASK], timeout_s=90.0).stdout.decode(errors="replace").split()
    return SudoWay(said[-1]) if said and said[-1] in SudoWay._value2member_map_ else SudoWay.NONE


def check_password(run: Run, password: str | None, *, host: str, user: str) -> None:
    """Whether sudo takes this password.

    Raises:
        SudoRefused: none was given, it is wrong, or this user may not use sudo.
    """
    if password is None:
        raise SudoRefused(host=host, user=user, reason="it asks for a password and none was given")
    result = run([*prefix(SudoWay.PASSWORD), "true"], input=line(password), timeout_s=90.0)
    if result.status != 0:
        raise SudoRefused(host=host, user=user, reason=_reason(result))


def prefix(way: SudoWay) -> Sequence[str]:
    """What stands before a command to make it root's. `-k`: no remembered password, so it is always read."""
    if way is SudoWay.ROOT:
        return ()
    if way is SudoWay.FREE:
        return ("sudo", "-k", "-n", "--")
    return ("env", "LC_ALL=C", "sudo", "-k", "-S", "-p", "", "--")


def line(password: str) -> bytes:
    """The password as sudo reads it."""
    return password.replace("\n", "").encode() + b"\n"


def _reason(result: CommandResult) -> str:
    said = result.stderr.decode(errors="replace").lower()
    if "not in the sudoers" in said or "may not run sudo" in said or "not allowed" in said:
        return "this user may not use it"
    if "incorrect password" in said or "try again" in said or "authentication fail" in said:
        return "the password is wrong"
    if "terminal" in said or "tty" in said:
        return "it wants a terminal (`requiretty`)"
    return result.last_words
