"""Which strings may be names, digests and paths.

The rule: what reaches a file system, a topic, a shell or a URL is one of these, checked at the door. A name can
never climb out of its folder, hide a control character, or be taken for an option.
"""

from __future__ import annotations

import re

from agent.contract.errors import NameInvalid

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}\Z")
_RELEASE = re.compile(r"(?P<name>[^@]+)@(?P<version>[1-9][0-9]{0,8})\Z")


def check_name(name: str, *, what: str) -> str:
    """`name` itself, when it is 1 to 64 of `a-z 0-9 . _ -`, begins and ends with a letter or digit, without `..`.

    Raises:
        NameInvalid: otherwise; `what` says which thing was to be named.
    """
    if not _NAME.match(name) or ".." in name:
        raise NameInvalid(what=what, name=name, rule="1 to 64 of a-z 0-9 . _ -, letter or digit at both ends")
    return name


def check_digest(text: str, *, what: str) -> str:
    """`text` itself, when it is a SHA-256 in lower-case hexadecimal. Raises NameInvalid otherwise."""
    if not _DIGEST.match(text):
        raise NameInvalid(what=what, name=text, rule="64 lower-case hexadecimal digits")
    return text


def check_path(path: str, *, what: str) -> str:
    """`path` itself, when it is a relative POSIX path of plain parts, at most 8 deep. Raises NameInvalid otherwise."""
    parts = path.split("/")
    if len(parts) > 8 or not all(_PART.match(part) for part in parts):
        raise NameInvalid(what=what, name=path, rule="a relative path of plain parts, without `..`")
    return path


def parse_release(text: str) -> tuple[str, int]:
    """`digits@2` to `("digits", 2)`. Raises NameInvalid when it is not of that form."""
    match = _RELEASE.match(text)
    if match is None:
        raise NameInvalid(what="release", name=text, rule="NAME@VERSION, like digits@2")
    return check_name(match["name"], what="model"), int(match["version"])


def is_release(text: str) -> bool:
    """Whether `text` names a release (`digits@2`)."""
    match = _RELEASE.match(text)
    return match is not None and _NAME.match(match["name"]) is not None
