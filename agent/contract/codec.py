"""JSON to frozen dataclasses and back.

The rules enforced here, for every document that crosses a boundary:

* a document is at most `MAX_DOCUMENT_BYTES` long, is UTF-8, names no key twice, and holds no NaN or Infinity;
* types are strict: `"3"` is no integer, `true` is no number, `1.0` is no integer;
* fields that this version does not know are kept in the dataclass's `extra` and written out again;
* enumeration values that this version does not know become `UNKNOWN` where the enumeration has that member;
* `decode(T, encode(x)) == x` for each document type T, and `encode` is canonical: keys sorted, no blanks.

A document's digest is taken over its stored bytes; nothing is ever serialised again to be verified.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from agent.contract.errors import DocumentInvalid, DocumentTooLarge, NameInvalid

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that is half a character; a pair of them is one, a single one can't be written again."""


def encode(document: Any) -> bytes:
    """Canonical UTF-8 JSON of a dataclass instance (keys sorted, no blanks).

    Raises:
        DocumentInvalid: a float is not finite, a text is no Unicode, or it is nested too deep.
    """
    try:
        text = json.dumps(
            to_plain(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()
    except (ValueError, RecursionError) as error:
        raise DocumentInvalid(document=type(document).__name__, reason=str(error)) from error


def decode(kind: type[T], data: bytes, *, limit_bytes: int = MAX_DOCUMENT_BYTES) -> T:
    """Parse bytes from the other side into an instance of the dataclass `kind`.

    Raises:
        DocumentTooLarge: `data` is longer than `limit_bytes`.
        DocumentInvalid: no UTF-8, no JSON, or not of the document's schema; the reason names the field.
    """
    if len(data) > limit_bytes:
        raise DocumentTooLarge(document=kind.__name__, size_bytes=len(data), limit_bytes=limit_bytes)
    return from_plain(kind, parse(data, document=kind.__name__))


def parse(data: bytes, *, document: str) -> Any:
    """JSON bytes to plain values, refusing what `json.loads` would let pass (double keys, NaN, deep nesting)."""
    try:
        text = data.decode()
        value = json.loads(
            text, object_pairs_hook=_no_double_keys, parse_constant=_no_constant, parse_float=_finite
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise DocumentInvalid(document=document, reason=str(error) or type(error).__name__) from error


def digest(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def to_plain(value: Any) -> Any:
    """Dataclasses, enumerations, tuples and mappings to what `json` writes. Fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if field.name == "extra":
                plain.update({key: to_plain(kept) for key, kept in item.items() if key not in plain})
            elif item is not None:
                plain[field.name] = to_plain(item)
        return plain
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], value: Any) -> T:
    """Plain values to an instance of the dataclass `kind`.

    Raises:
        DocumentInvalid: with the path of the field that does not fit, like `files[2].sha256`.
    """
    return typing.cast(T, _build(kind, value, document=kind.__name__, path="", depth=0))


def _build(kind: Any, value: Any, *, document: str, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _too_deep(document, path)
    origin = typing.get_origin(kind)
    if kind is Any:
        _check_depth(value, document=document, path=path, depth=depth)
        return value
    if origin in (typing.Union, types.UnionType):
        return _build_optional(kind, value, document=document, path=path, depth=depth)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(document, path, "a list", value)
        item_kind = typing.get_args(kind)[0]
        return tuple(
            _build(item_kind, item, document=document, path=f"{path}[{index}]", depth=depth + 1)
            for index, item in enumerate(value)
        )
    if origin in (Mapping, dict):
        if not isinstance(value, dict):
            raise _wrong(document, path, "an object", value)
        item_kind = typing.get_args(kind)[1]
        return {
            key: _build(item_kind, item, document=document, path=f"{path}.{key}".lstrip("."), depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _build_enum(kind, value, document=document, path=path)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, document=document, path=path, depth=depth)
    return _build_scalar(kind, value, document=document, path=path)


def _check_depth(value: Any, *, document: str, path: str, depth: int) -> None:
    """What has no type is bounded too: whoever reads it may walk through it."""
    if depth > MAX_DEPTH:
        raise _too_deep(document, path)
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, document=document, path=path, depth=depth + 1)


def _build_optional(kind: Any, value: Any, *, document: str, path: str, depth: int) -> Any:
    choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
    if value is None:
        if len(choices) == len(typing.get_args(kind)):
            raise _wrong(document, path, "a value", value)
        return None
    if len(choices) == 1:
        return _build(choices[0], value, document=document, path=path, depth=depth)
    for choice in choices:
        try:
            return _build(choice, value, document=document, path=path, depth=depth)
        except DocumentInvalid:
            continue
    raise _wrong(document, path, " or ".join(getattr(c, "__name__", str(c)) for c in choices), value)


def _build_enum(kind: type[enum.Enum], value: Any, *, document: str, path: str) -> enum.Enum:
    if not isinstance(value, str):
        raise _wrong(document, path, "a string", value)
    try:
        return kind(value)
    except ValueError:
        if "UNKNOWN" in kind.__members__:
            return kind["UNKNOWN"]
        known = ", ".join(str(member.value) for member in kind)
        raise _wrong(document, path, f"one of {known}", value) from None


def _build_dataclass(kind: Any, value: Any, *, document: str, path: str, depth: int) -> Any:
    if not isinstance(value, dict):
        raise _wrong(document, path, "an object", value)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    known: dict[str, Any] = {}
    for name, field in fields.items():
        where = f"{path}.{name}".lstrip(".")
        if name in value:
            known[name] = _build(hints[name], value[name], document=document, path=where, depth=depth + 1)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DocumentInvalid(document=document, reason=f"`{where}` is missing")
    unknown = {key: item for key, item in value.items() if key not in fields}
    _check_depth(unknown, document=document, path=path, depth=depth)
    if unknown and "extra" in hints:
        known["extra"] = unknown
    try:
        return kind(**known)
    except NameInvalid as error:
        where = f"`{path}`: " if path else ""
        raise DocumentInvalid(document=document, reason=f"{where}{error}") from error
    except DocumentInvalid as error:
        if not path:
            raise
        raise DocumentInvalid(document=document, reason=f"`{path}`: {error.facts['reason']}") from error


def _build_scalar(kind: Any, value: Any, *, document: str, path: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise _wrong(document, path, "a finite number", value) from None
    if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
        raise _wrong(
            document,
            path,
            {str: "a string", int: "an integer", bool: "true or false"}.get(kind, "a number"),
            value,
        )
    return value


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def _too_deep(document: str, path: str) -> DocumentInvalid:
    return DocumentInvalid(
        document=document, reason=f"`{path or document}` is nested deeper than {MAX_DEPTH}"
    )


def _wrong(document: str, path: str, expected: str, value: Any) -> DocumentInvalid:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return DocumentInvalid(
        document=document, reason=f"`{path or document}` must be {expected}, found {shown}"
    )


def _no_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
