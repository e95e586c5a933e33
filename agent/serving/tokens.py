"""Who may ask, beyond the board: whoever shows a token, for what its scope opens.

The rule: a request is judged by its head, before its body is read. Whether the agent lives and is ready may be asked
by anyone; all else needs a token, and what loads or unloads a model needs one for control. A token is compared as its
SHA-256, in constant time, with every one that is known.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from agent.contract.door import Scope, Token
from agent.serving.messages import Response, refusal

OPEN_PATHS = ("/", "/v2/health/live", "/v2/health/ready")
CONTROL_PART = "/repository/models/"
"""Paths with this in them load and unload."""
CHALLENGE = b"WWW-Authenticate"


class Tokens:
    """The tokens that open a door now.

    Attributes:
        known: may be set anew at any time; the next request is judged by it.
    """

    def __init__(self, known: Sequence[Token] = ()) -> None:
        self.known = known

    def __call__(self, path: str, headers: Mapping[bytes, bytes]) -> Response | None:
        """What refuses a request with this head, or None.

        Args:
            path: as the client wrote it, without the query.
            headers: names in lower case.
        """
        meant = unquote(path)
        if meant in OPEN_PATHS:
            return None
        scope = self._scope(headers.get(b"authorization", b""))
        if scope is None or scope is Scope.UNKNOWN:
            return _refused(401, "a valid token is needed", b"Bearer")
        if scope is not Scope.CONTROL and CONTROL_PART in meant:
            return _refused(
                403, "a token with the scope `control` is needed", b'Bearer error="insufficient_scope"'
            )
        return None

    def _scope(self, authorization: bytes) -> Scope | None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        shown = hashlib.sha256(token.strip()).hexdigest()
        found = None
        for each in self.known:
            if hmac.compare_digest(each.sha256, shown):
                found = each.scope
        return found


def _refused(status: int, text: str, challenge: bytes) -> Response:
    response = refusal(status, text, close=True)
    return response._replace(headers=((CHALLENGE, challenge),))
