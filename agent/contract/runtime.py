"""The runtime's manifest: agent, Python packages and inference engine for one platform and Python, as one digest.

A runtime is an ordered list of *layers*. A layer is one wheel, trimmed and packed anew as a deterministic zip;
it is a blob by its SHA-256, unpacked once on the board as `objects/<sha256>/`, and shared by every runtime that
names it: a new agent costs its own layer. A process runs in a runtime by putting the layers' folders on
`sys.path` in their order. The runtime's digest is the SHA-256 of its stored manifest bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.manifest import EngineName
from agent.contract.names import check_digest

RUNTIME_SCHEMA = "edge.runtime/1"


@dataclass(frozen=True)
class Platform:
    """What a runtime is made for.

    Attributes:
        architecture: `aarch64` or `x86_64`.
        python: `3.11`.
        glibc: least version that the board must have, like `2.28`.
    """

    architecture: str
    python: str
    glibc: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.architecture}, Python {self.python}, glibc {self.glibc}"


@dataclass(frozen=True)
class Layer:
    """One package of a runtime.

    Attributes:
        name, version: of the distribution that it holds.
        sha256, size_bytes: of the layer's zip.
        unpacked_bytes: length of all its files.
        page_size_bytes: largest page size that all its shared objects can be loaded with; 0 when it has none.
    """

    name: str
    version: str
    sha256: str
    size_bytes: int
    unpacked_bytes: int
    page_size_bytes: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_digest(self.sha256, what="digest of a layer")
        if self.size_bytes < 0 or self.unpacked_bytes < 0:
            raise DocumentInvalid(document="Layer", reason="a length is negative")


@dataclass(frozen=True)
class RuntimeManifest:
    """A runtime. See the module docstring.

    Attributes:
        platform: what it is made for.
        engine, engine_version: the inference engine in it.
        gpu: what the engine can use beside the CPU, in words, or None for "CPU only".
        agent_version: of the layer `edge-agent`.
        contracts: contract versions that this agent speaks.
        layers: the first is `edge-agent`.
    """

    platform: Platform
    engine: EngineName
    engine_version: str
    agent_version: str
    contracts: tuple[int, ...]
    layers: tuple[Layer, ...]
    gpu: str | None = None
    schema: str = RUNTIME_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != RUNTIME_SCHEMA:
            raise DocumentInvalid(
                document="RuntimeManifest",
                reason=f"`schema` is {self.schema!r}, this version reads {RUNTIME_SCHEMA!r}",
            )
        if not self.layers or self.layers[0].name != "edge-agent":
            raise DocumentInvalid(document="RuntimeManifest", reason="the first layer must be `edge-agent`")

    @property
    def size_bytes(self) -> int:
        """What a board that has none of it must be sent."""
        return sum(layer.size_bytes for layer in self.layers)
