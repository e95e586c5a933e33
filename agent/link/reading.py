"""Which request a message is, and which message an answer becomes.

The rule: the payload is what HTTP would have as its body, not a byte of it changed. What kind it is, the content type
says, or where there is none (MQTT 3.1.1), its beginning: a JPEG, PNG, WAV or `.npy` file; JSON, where `instances`, or
`inputs` by name, makes it version 1; else the bytes of a model's only input.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from agent.contract.errors import RequestInvalid
from agent.link.asking import Answer, Question
from agent.link.message import Message, Reply

SAMPLES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"\x93NUMPY")
"""How a JPEG, a PNG, a WAV file and an array of numpy's begin: what the image door takes."""
OCTETS = "application/octet-stream"
JSON = b"application/json"
HEADER_LENGTH = "inference-header-content-length"
VERSION = "model-version"
"""User properties, whose names may be in any case."""
GOOD = 200


def question(message: Message, model: str, received: float) -> Question:
    """The request that a message is.

    Args:
        message: the message.
        model: its name.
        received: monotonic seconds.

    Raises:
        RequestInvalid: a property of the message is none.
    """
    version = message.said.get(VERSION)
    if version is not None and not version.isdecimal():
        raise RequestInvalid(reason=f"user property '{VERSION}' must be a number")
    at = model if version is None else f"{model}/versions/{version}"
    kind, body = message.content_type, message.payload
    deadline = None if message.expiry_s is None else received + message.expiry_s
    length = message.said.get(HEADER_LENGTH)
    if length is not None or kind == OCTETS:
        return _binary(f"/v2/models/{at}/infer", body, length or "0", deadline)
    if (kind or "").startswith(("image/", "audio/")) or (kind is None and body.startswith(SAMPLES)):
        return Question(f"/edge/v1/models/{at}/infer", body, deadline=deadline)
    document = _document(body)
    if document is None and kind is None:
        return _binary(f"/v2/models/{at}/infer", body, "0", deadline)
    columns = isinstance(document, dict) and isinstance(document.get("inputs"), dict)
    first = columns or (isinstance(document, dict) and "instances" in document)
    path = f"/v1/models/{at}:predict" if first else f"/v2/models/{at}/infer"
    return Question(path, body, {b"content-type": JSON}, deadline, id=_id(document))


def reply(message: Message, topic: str, answer: Answer, id: str | None) -> Reply:
    """The message that an answer to `message` becomes.

    Args:
        message: the request.
        topic: where to.
        answer: to the request.
        id: what the asker calls the request, or None.
    """
    said = [("status", str(answer.status))]
    said += [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    more: dict[str, Any] = {}
    if answer.status != GOOD:
        more["status"] = answer.status
    if id is not None and message.response_topic is None and not answer.body.startswith(b'{"id":'):
        more["id"] = id
    body = answer.body
    if more and answer.content_type == JSON and body.startswith(b'{"'):
        body = body[:-1] + b"," + orjson.dumps(more)[1:]
    return Reply(topic, body, answer.content_type.decode("latin-1"), message.correlation, said)


def _binary(path: str, body: bytes, length: str, deadline: float | None) -> Question:
    """Tensors behind a JSON header of `length` bytes, which the path's own protocol judges."""
    headers = {b"content-type": OCTETS.encode(), HEADER_LENGTH.encode(): length.encode()}
    head = body[: int(length[:9])] if length.isdecimal() else b""
    return Question(path, body, headers, deadline, id=_id(_document(head)))


def _document(body: bytes) -> Any:
    """The JSON that `body` is; an empty object where it is text that means to be one; None where it is other bytes."""
    if body[:64].lstrip()[:1] != b"{":
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _lenient(body)


def _lenient(body: bytes) -> Any:
    """As `_document`, with NaN and Infinity."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None if "\0" in text else {}


def _id(document: Any) -> str | None:
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) and found else None
