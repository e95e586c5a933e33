"""An answer's bytes on the wire."""

from __future__ import annotations

from agent.serving.messages import Response

PHRASES = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large", 415: b"Unsupported Media Type",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    501: b"Not Implemented", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}  # fmt: skip
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_HEADS: dict[tuple[int, bytes], bytes] = {}


def rendered(response: Response, head_only: bool) -> bytes:
    """An answer's bytes."""
    key = (response.status, response.content_type)
    head = _HEADS.get(key)
    if head is None:
        phrase = PHRASES.get(response.status, b"Error")
        head = _HEADS[key] = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (
            response.status, phrase, response.content_type,
        )  # fmt: skip
    more = b""
    if response.headers:
        more = b"".join([b"\r\n%b: %b" % header for header in response.headers])
    if response.close:
        more += b"\r\nConnection: close"
    return b"%b%d%b\r\n\r\n%b" % (head, len(response.body), more, b"" if head_only else response.body)
