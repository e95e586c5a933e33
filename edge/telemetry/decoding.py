"""Telemetry from its bytes, many times as fast as the contract's own codec, with the same result.

The rule: only what a board of this version writes is read the fast way, by a form that is made from the contract's own
classes: every field that has a value, no other, no key twice (a document has just so many colons then). All else goes
through `agent.contract.codec`, whose word counts. A test holds the two side by side. Beyond the contract, whole numbers
must be of 64 bits: the store and what leaves it hold no larger ones.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from agent.contract import codec
from agent.contract.errors import DocumentInvalid, DocumentTooLarge, EdgeError
from agent.contract.messages import MESSAGE_SCHEMA, Telemetry
from agent.contract.samples import BoardCounters, ModelCounters
from edge.telemetry.sequence import LARGEST

MESSAGE_BYTES = 1024 * 1024
"""The longest message of a board that is looked at."""
SMALLEST = -LARGEST - 1
_WHOLE = typing.Annotated[int, msgspec.Meta(ge=SMALLEST, le=LARGEST)]


def decode_telemetry(payload: bytes) -> Telemetry:
    """A message of the kind `telemetry`: an object with the attributes of `Telemetry`, whatever its class.

    Raises:
        DocumentTooLarge: it is longer than `MESSAGE_BYTES`.
        DocumentInvalid: no UTF-8, no JSON, or not of the contract.
    """
    if len(payload) > MESSAGE_BYTES:
        raise DocumentTooLarge(document="Telemetry", size_bytes=len(payload), limit_bytes=MESSAGE_BYTES)
    found = _fast(payload)
    if found is None:
        found = codec.decode(Telemetry, payload)
        check_numbers(found, document="Telemetry")
    return found


def check_schema(found: str, *, document: str) -> None:
    """Raise DocumentInvalid where a message is of a schema that this version does not read."""
    if found != MESSAGE_SCHEMA:
        reason = f"`schema` is {found[:60]!r}, this version reads {MESSAGE_SCHEMA!r}"
        raise DocumentInvalid(document=document, reason=reason)


def check_numbers(value: Any, *, document: str) -> None:
    """Raise DocumentInvalid where a document holds a whole number of more than 64 bits."""
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        raise DocumentInvalid(document=document, reason=f"the number {value} is too large to be kept")
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.name != "extra":
                check_numbers(getattr(value, field.name), document=document)
    elif isinstance(value, (tuple, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            check_numbers(item, document=document)


def _fast(payload: bytes) -> Telemetry | None:
    """The message, or None where the contract's codec must take it, or say what is wrong."""
    try:
        found = typing.cast(Telemetry, _decode(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, EdgeError):
        return None
    return found if payload.count(b":") == _keys(found) else None


def _form(kind: type) -> type[msgspec.Struct]:
    """A class with the fields and the checks of a contract dataclass, which msgspec fills at once (a dataclass takes
    it three times as long). Only what may be None may be left out."""
    hints = typing.get_type_hints(kind)
    fields: list[Any] = [
        (field.name, _hint(hints[field.name]), None)
        if field.default is None
        else (field.name, _hint(hints[field.name]))
        for field in dataclasses.fields(kind)
        if field.name != "extra"
    ]
    checks = {"__post_init__": kind.__post_init__} if hasattr(kind, "__post_init__") else {}
    return msgspec.defstruct(
        kind.__name__,
        fields,
        namespace=checks,
        kw_only=True,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


def _hint(hint: Any) -> Any:
    """A field's type, with forms in the place of dataclasses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return types.GenericAlias(tuple, (_hint(arguments[0]), ...))
    if origin is Mapping:
        return types.GenericAlias(dict, tuple(_hint(argument) for argument in arguments))
    if origin is types.UnionType:
        return typing.Union[tuple(_hint(argument) for argument in arguments)]  # noqa: UP007 - made at run time
    if hint is int:
        return _WHOLE
    return _form(hint) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else hint


_decode = msgspec.json.Decoder(_form(Telemetry)).decode


def _keys(message: Telemetry) -> int:
    """How many keys the message's JSON has when it was written by `codec.encode`, which leaves out what is None."""
    keys = 7 + 2 * len(message.gaps) + (message.sent_monotonic is not None)
    for sample in message.samples:
        keys += 5 + _board_keys(sample.board)
        for model in sample.models:
            keys += _model_keys(model)
    return keys


def _board_keys(board: BoardCounters) -> int:
    return (
        7
        + (board.temperature_c is not None)
        + (board.throttled is not None)
        + (board.network_sent_bytes is not None)
        + (board.network_received_bytes is not None)
    )


def _model_keys(model: ModelCounters) -> int:
    shadow = (model.compared is not None) + (model.agreed is not None) + (model.dropped is not None)
    return 13 + shadow + len(model.errors) + len(model.latency_ms.counts) + len(model.compute_ms.counts)
