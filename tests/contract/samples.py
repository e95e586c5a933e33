"""One fixed instance of each document, every field filled: what the golden files hold."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

BY_FIELD: dict[str, Any] = {
    "sha256": "ab" * 32, "source_sha256": "cd" * 32, "runtime_digest": "12" * 32, "runtime": "12" * 32,
    "bundle": "34" * 32, "release": "digits@2", "fleet": "kitchen-abcdef", "device": "b-0011223344556677",
    "boot": "0123456789abcdef", "nonce": "56" * 16, "signature": "78" * 64, "public_key": "9a" * 32,
    "counter": 7, "number": 7, "service": "systemd", "port": 8470, "share": 100, "architecture": "aarch64",
    "python": "3.11", "glibc": "2.36", "collector": "laptop-1", "payload": '{"device":"b-0011223344556677"}',
    "title": "digits@2", "attempts": 1, "max_attempts": 3, "profile": "raspberry-pi-5", "fields": {"cpu_s": "s"},
}  # fmt: skip
OF_CLASS: dict[tuple[str, str], Any] = {
    ("BundleManifest", "model_file"): "model.tflite",
    ("BundleManifest", "report_file"): "report.json",
    ("BundleManifest", "labels_file"): "labels.txt",
    ("BundleManifest", "recipe"): {"name": "int8", "opset": 17},
    ("BundleManifest", "verdict"): "within",
    ("Golden", "file"): "golden.npz",
    ("Requirements", "engines"): {"litert": "2.0.0"},
    ("Release", "bundles"): {"raspberry-pi-5": "34" * 32},
    ("Release", "name"): "digits", ("GenerationModel", "name"): "digits", ("BundleManifest", "model"): "digits",
    ("LinkConfig", "url"): "mqtts://127.0.0.1:8883", ("LinkConfig", "outbox_bytes"): 65536,
    ("Gap", "first"): 3, ("Gap", "last"): 5,
    ("Sketch", "counts"): {"-12": 3, "40": 1},
    ("Latencies", "counts"): {"2047": 3, "2050": 1},
    ("DeviceProfile", "name"): "raspberry-pi-5", ("DeviceProfile", "title"): "Raspberry Pi 5",
    ("DeviceProfile", "format"): "tflite", ("DeviceProfile", "engine"): "litert",
    ("DeviceProfile", "engine_version"): "2.3.0",
    ("Layer", "name"): "edge-agent",
    ("Step", "parameters"): {"factor": 0.5},
    ("RunningAgent", "error"): {"code": "engine.missing"}, ("Reply", "error"): {"code": "request.invalid"},
    ("DoorConfig", "address"): "0.0.0.0", ("DoorState", "error"): {"code": "door.shut"},
    ("StreamConfig", "model"): "digits", ("StreamConfig", "source"): "/srv/photos", ("StreamConfig", "rate"): 2.5,
}  # fmt: skip
LISTS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("BundleManifest", "files"): [
        {"path": name} for name in ("golden.npz", "labels.txt", "model.tflite", "report.json")
    ]
}


def sample(kind: type[T], **fixed: Any) -> T:
    """The instance of the dataclass `kind`."""
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name == "extra":
            continue
        if field.name == "schema":
            values["schema"] = field.default
            continue
        values[field.name] = _value(kind.__name__, field.name, hints[field.name])
    return kind(**{**values, **fixed})


def _value(owner: str, name: str, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(owner, name, next(choice for choice in arguments if choice is not type(None)))
    if origin is tuple:
        many = LISTS.get((owner, name), [{}])
        if dataclasses.is_dataclass(arguments[0]):
            return tuple(sample(typing.cast(type, arguments[0]), **fixed) for fixed in many)
        return (_value(owner, name, arguments[0]),)
    if dataclasses.is_dataclass(hint):
        return sample(typing.cast(type, hint))
    chosen = OF_CLASS.get((owner, name))
    if chosen is None and (name not in BY_FIELD or (hint is int) != isinstance(BY_FIELD[name], int)):
        chosen = _by_type(name, hint, origin, arguments)
    chosen = BY_FIELD.get(name) if chosen is None else chosen
    return hint(chosen) if isinstance(hint, type) and issubclass(hint, enum.Enum) else chosen


def _by_type(name: str, hint: Any, origin: Any, arguments: Any) -> Any:
    if hint is Any or hint is str:
        return name
    if origin in (Mapping, dict):
        return {"one": _value("", name, arguments[1])}
    if issubclass(hint, enum.Enum):
        return next(iter(hint)).value
    return {bool: True, int: 1, float: 1.5}[hint]
