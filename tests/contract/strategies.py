"""Any valid instance of a contract document, made from its type hints.

The rule: what a document's constructor refuses is not drawn; all else is, and unknown fields too.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from hypothesis import assume
from hypothesis import strategies as st

from agent.contract.door import Token
from agent.contract.errors import ContractError
from agent.contract.load import bucket
from agent.contract.manifest import BundleManifest, EngineName, FileEntry, ModelFormat
from agent.contract.runtime import Layer, RuntimeManifest
from agent.contract.stream import FASTEST

T = TypeVar("T")

names = st.from_regex(r"[a-z0-9](?:[a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
releases = st.builds(lambda name, version: f"{name}@{version}", names, st.integers(1, 10**8))
paths = st.lists(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,12}", fullmatch=True), min_size=1, max_size=4
).map("/".join)
texts = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40)
integers = st.integers(-(2**53), 2**53)
floats = st.floats(allow_nan=False, allow_infinity=False)
plain_values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | integers | floats | texts | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)

BY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "sha256": digests, "source_sha256": digests, "runtime": digests, "bundle": digests, "runtime_digest": digests,
    "path": paths, "model_file": paths, "report_file": paths, "file": paths,
    "size_bytes": st.integers(0, 2**32), "unpacked_bytes": st.integers(0, 2**40), "port": st.integers(0, 65535),
    "number": st.integers(1, 2**40), "version": st.integers(1, 2**30), "share": st.integers(0, 100),
    "max_attempts": st.integers(1, 99), "threads": st.integers(1, 64),
    "probation_s": st.floats(0, 86_400), "check_timeout_s": st.floats(0, 86_400),
    "start_timeout_s": st.floats(0, 86_400),
    "latency_factor": st.floats(1e-3, 1e6), "memory_factor": st.floats(1e-3, 1e6),
    "p95_ms": st.floats(1e-3, 1e6), "memory_mb": st.floats(1e-3, 1e6),
    "name": names, "model": names, "profile": names, "fleet": names, "device": names, "device_id": names,
}  # fmt: skip
"""Fields of one meaning wherever they stand."""

OF_CLASS: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("Release", "bundles"): st.dictionaries(names, digests, max_size=3),
    ("GenerationModel", "release"): releases,
    ("BoardConfig", "service"): st.sampled_from(["systemd", "systemd-user", "supervisor"]),
    ("DeviceProfile", "architecture"): st.sampled_from(["aarch64", "x86_64"]),
    ("DeviceProfile", "engine_version"): st.sampled_from(["", "1.18.1", "2.14.0"]),
    ("DeviceProfile", "newest_opset"): st.integers(0, 99),
    ("DeviceProfile", "newest_ir"): st.integers(0, 99),
    ("Device", "port"): st.integers(1, 65535),
    ("DoorConfig", "address"): st.ip_addresses().map(str),
    ("DoorConfig", "port"): st.integers(1, 65535),
    ("DoorConfig", "tokens"): st.deferred(
        lambda: st.lists(documents(Token), min_size=1, max_size=3, unique_by=lambda token: token.name).map(
            tuple
        )
    ),
    ("StreamConfig", "source"): st.sampled_from(["/srv/photos", "/", "camera:0"]),
    ("StreamConfig", "rate"): st.floats(0.001, FASTEST),
    ("Device", "counter_seen"): st.integers(0, 2**53),
    ("Latencies", "counts"): st.dictionaries(
        st.integers(0, 10**12).map(lambda value: str(bucket(value))), st.integers(1, 2**40), max_size=5
    ),
    ("Sketch", "counts"): st.dictionaries(st.integers(-300, 600).map(str), st.integers(1, 2**40), max_size=5),
    ("InstallRequest", "runtime"): st.deferred(lambda: documents(RuntimeManifest)),
    ("Signed", "payload"): texts,
}
"""Fields that mean something else, or are narrower, in one document."""


def documents(kind: type[T], *, extra: bool = True) -> st.SearchStrategy[T]:
    """Instances of the dataclass `kind`. `extra`: with unknown fields of a newer version."""
    if kind in SPECIAL:
        return typing.cast("st.SearchStrategy[T]", SPECIAL[kind]())
    return _any(kind, extra=extra)


@st.composite
def _any(draw: st.DrawFn, kind: Any, *, extra: bool = True, **fixed: Any) -> Any:
    hints = typing.get_type_hints(kind)
    values = dict(fixed)
    for field in dataclasses.fields(kind):
        if field.name in values:
            continue
        if field.name == "schema":
            continue
        if field.name == "extra":
            if extra:
                values["extra"] = draw(_unknown_fields(kind))
            continue
        values[field.name] = draw(field_values(kind.__name__, field.name, hints[field.name]))
    try:
        return kind(**values)
    except ContractError:
        assume(False)


def _unknown_fields(kind: Any) -> st.SearchStrategy[Any]:
    known = {field.name for field in dataclasses.fields(kind)}
    return st.dictionaries(texts.filter(lambda key: key not in known), plain_values, max_size=2)


def field_values(owner: str, name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Values for one field: by its meaning where it has one, else by its type."""
    optional = _is_optional(hint)
    usual = BY_FIELD.get(name) if _fits(name, hint) else None
    chosen = OF_CLASS.get((owner, name), usual)
    if chosen is not None:
        return st.none() | chosen if optional else chosen
    return of_type(hint)


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return plain_values
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if choice is type(None) else of_type(choice) for choice in arguments])
    if origin is tuple:
        return st.lists(of_type(arguments[0]), max_size=3).map(tuple)
    if origin in (Mapping, dict):
        return st.dictionaries(texts, of_type(arguments[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return documents(typing.cast(type, hint))
    return {str: texts, int: integers, float: floats, bool: st.booleans()}[hint]


def _is_optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _fits(name: str, hint: Any) -> bool:
    """Whether the field of this name has the type that its usual meaning has."""
    types_of = {hint, *typing.get_args(hint)}
    numbers = (
        "size_bytes",
        "unpacked_bytes",
        "port",
        "number",
        "version",
        "share",
        "max_attempts",
        "threads",
    )
    if name in numbers:
        return int in types_of
    if name.endswith(("_s", "_ms", "_mb")):
        return float in types_of
    return str in types_of


@st.composite
def _bundles(draw: st.DrawFn) -> BundleManifest:
    entries = draw(st.lists(documents(FileEntry), min_size=3, max_size=5, unique_by=lambda entry: entry.path))
    listed = [entry.path for entry in entries]
    golden = draw(of_type(typing.get_type_hints(BundleManifest)["golden"]))
    manifest: BundleManifest = draw(
        _any(
            BundleManifest, files=tuple(entries), model_file=listed[0], report_file=listed[1],
            golden=dataclasses.replace(golden, file=listed[2]), labels_file=draw(st.sampled_from([None, *listed])),
        )
    )  # fmt: skip
    return manifest


@st.composite
def _runtimes(draw: st.DrawFn) -> RuntimeManifest:
    first = dataclasses.replace(draw(documents(Layer)), name="edge-agent")
    rest = draw(st.lists(documents(Layer), max_size=2))
    manifest: RuntimeManifest = draw(_any(RuntimeManifest, layers=(first, *rest)))
    return manifest


@st.composite
def _desired(draw: st.DrawFn) -> Any:
    from agent.contract.release import DesiredState, Generation

    generation = draw(documents(Generation))
    return draw(_any(DesiredState, generation=generation, counter=generation.number))


@st.composite
def _telemetry(draw: st.DrawFn) -> Any:
    from agent.contract.messages import Telemetry
    from agent.contract.samples import Sample

    numbers = sorted(draw(st.sets(st.integers(1, 2**50), max_size=3)))
    samples = tuple(dataclasses.replace(draw(documents(Sample)), seq=number) for number in numbers)
    return draw(_any(Telemetry, samples=samples))


@st.composite
def _gaps(draw: st.DrawFn) -> Any:
    from agent.contract.samples import Gap

    first = draw(st.integers(1, 2**50))
    return Gap(first, first + draw(st.integers(0, 1000)), draw(_unknown_fields(Gap)))


@st.composite
def _links(draw: st.DrawFn) -> Any:
    from agent.contract.link import LinkConfig

    port, interval_s = draw(st.integers(1, 65535)), draw(st.floats(0.001, 86_400))
    outbox_bytes = draw(st.integers(65536, 2**40))
    url = f"mqtts://127.0.0.1:{port}"
    return draw(_any(LinkConfig, url=url, interval_s=interval_s, outbox_bytes=outbox_bytes))


@st.composite
def _profiles(draw: st.DrawFn) -> Any:
    from agent.contract.profile import DeviceProfile

    pair = draw(
        st.sampled_from(
            [
                (ModelFormat.TFLITE, EngineName.LITERT),
                (ModelFormat.TFLITE, EngineName.TFLITE_RUNTIME),
                (ModelFormat.ONNX, EngineName.ONNXRUNTIME),
            ]
        )
    )
    return draw(_any(DeviceProfile, format=pair[0], engine=pair[1]))


def _special() -> dict[type, Any]:
    from agent.contract.link import LinkConfig
    from agent.contract.messages import Telemetry
    from agent.contract.profile import DeviceProfile
    from agent.contract.release import DesiredState
    from agent.contract.samples import Gap

    return {
        BundleManifest: _bundles, RuntimeManifest: _runtimes, DesiredState: _desired, Telemetry: _telemetry,
        Gap: _gaps, DeviceProfile: _profiles, LinkConfig: _links,
    }  # fmt: skip


SPECIAL: dict[type, Any] = _special()
"""Documents whose fields depend on each other."""
