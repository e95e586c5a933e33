"""Device profiles, board facts, and the one function that says whether they fit.

The rule: `accepts` is the same on the laptop before anything is sent and on the board before anything is staged.
An empty list means yes; each reason says what decides and what would help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.manifest import BundleManifest, EngineName, ModelFormat
from agent.contract.names import check_name
from agent.contract.runtime import RuntimeManifest

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Python versions that the agent runs on."""


@dataclass(frozen=True)
class BoardFacts:
    """What a board says of itself when it is probed.

    Attributes:
        architecture: of the userland: `aarch64`, `x86_64`, `armv7l`, …
        userland_bits: 32 or 64.
        python: `3.11`, or an empty string when there is none.
        glibc: `2.36`, or an empty string when it is not glibc.
        page_size_bytes: of the kernel.
        memory_bytes, cores: what the kernel reports.
        disk_free_bytes: where the board's folder is or would be.
        os: like `Debian GNU/Linux 12 (bookworm)`.
        model: the device tree's model, or the machine's product name, or an empty string.
        serial: hardware serial number or machine id; identity is bound to it.
        kernel: release string.
        clock: the board's own time, seconds since 1970.
        systemd: PID 1 is systemd.
        sudo: `none`, `password` or `free`, or `root` when the user is root.
        memory_cgroup: the kernel enforces memory limits.
        jetpack, cuda, tensorrt: versions, None where there is none.
        simulated: a simulated board (`edge sim`).
        user: the user that was logged in with.
        home: that user's home folder.
        lingering: the user's services survive logout.
    """

    architecture: str
    userland_bits: int
    python: str
    glibc: str
    page_size_bytes: int
    memory_bytes: int
    cores: int
    disk_free_bytes: int
    os: str
    model: str
    serial: str
    kernel: str = ""
    clock: int = 0
    systemd: bool = False
    sudo: str = "none"
    memory_cgroup: bool = False
    jetpack: str | None = None
    cuda: str | None = None
    tensorrt: str | None = None
    simulated: bool = False
    user: str = ""
    home: str = ""
    lingering: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sourced:
    """A number of a profile with where it comes from.

    Attributes:
        value: the number, in the unit that the field's name states.
        source: a data sheet's address, a document, or how it was measured.
    """

    value: float
    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceProfile:
    """What a kind of board is and can do.

    Attributes:
        name: `raspberry-pi-5`.
        title: for people.
        architecture: `aarch64` or `x86_64`.
        format: of the artifacts that it is given unless a recipe says otherwise.
        engine: that runs them.
        threads: for one inference.
        memory_mib, cores: of the board, with source.
        memory_limit_mib: what the agent may use, with source (or how it was decided).
        page_size_bytes: of its usual kernel, with source.
        models: device-tree or product names that this profile is for, as prefixes.
        pythons: versions that its usual system images carry.
        glibc: of the oldest of these images.
        accelerator: for people, or None.
        simulated, emulated: not a real board; such a profile is chosen for such a board only.
        notes: for people.
        engine_version: that its boards run, where it is not the one that edge brings by itself, or empty.
        newest_opset, newest_ir: of ONNX files that its engine takes, where that is less than its version takes by
            itself; 0 leaves it at what was measured of the version.
    """

    name: str
    title: str
    architecture: str
    format: ModelFormat
    engine: EngineName
    threads: int
    memory_mib: Sourced
    cores: Sourced
    memory_limit_mib: Sourced
    page_size_bytes: Sourced
    pythons: tuple[str, ...]
    glibc: str
    models: tuple[str, ...] = ()
    accelerator: str | None = None
    simulated: bool = False
    emulated: bool = False
    notes: str = ""
    engine_version: str = ""
    newest_opset: int = 0
    newest_ir: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, what="profile")
        if self.architecture not in ("aarch64", "x86_64"):
            raise DocumentInvalid(
                document="DeviceProfile",
                reason=f"`architecture` must be aarch64 or x86_64, found {self.architecture!r}",
            )
        if self.format is ModelFormat.UNKNOWN or self.engine is EngineName.UNKNOWN:
            raise DocumentInvalid(document="DeviceProfile", reason="`format` or `engine` is not known")
        if (self.engine is EngineName.ONNXRUNTIME) != (self.format is ModelFormat.ONNX):
            raise DocumentInvalid(
                document="DeviceProfile",
                reason=f"engine {self.engine.value} does not run {self.format.value} files",
            )
        if self.engine_version and not version_key(self.engine_version):
            raise DocumentInvalid(
                document="DeviceProfile",
                reason=f"`engine_version` must be a version like 1.18.1, found {self.engine_version!r}",
            )
        for name in ("newest_opset", "newest_ir"):
            if getattr(self, name) < 0:
                raise DocumentInvalid(
                    document="DeviceProfile",
                    reason=f"`{name}` must be 0 or more, found {getattr(self, name)}",
                )
        if self.threads < 1:
            raise DocumentInvalid(
                document="DeviceProfile", reason=f"`threads` must be 1 or more, found {self.threads}"
            )

    def version_of(self, engine: EngineName) -> str:
        """The version that it states of an engine; empty where boards get the usual one."""
        return self.engine_version if engine is self.engine else ""


@dataclass(frozen=True)
class Reason:
    """Why something does not fit.

    Attributes:
        fact: what decides, in words.
        way_out: what would help, or an empty string.
    """

    fact: str
    way_out: str = ""


def version_key(version: str) -> tuple[int, ...]:
    """`2.14.0` to `(2, 14, 0)`; what is no number ends it."""
    key: list[int] = []
    for part in version.split("."):
        digits = "".join(character for character in part if character in "0123456789")
        if not digits:
            break
        key.append(int(digits))
    return tuple(key)


def accepts(profile: DeviceProfile, facts: BoardFacts) -> tuple[Reason, ...]:
    """Why a board with `facts` can't be run as `profile`; empty when it can."""
    reasons = list(_runnable(facts))
    if facts.userland_bits == 64 and facts.architecture != profile.architecture:
        reasons.append(
            Reason(f"its architecture is {facts.architecture}, the profile is for {profile.architecture}")
        )
    if profile.simulated and not facts.simulated:
        reasons.append(Reason("the profile is for simulated boards, this is a real one"))
    if profile.models and not any(facts.model.startswith(model) for model in profile.models):
        reasons.append(
            Reason(f"it calls itself `{facts.model or 'nothing'}`, the profile is for {profile.models[0]}")
        )
    needed_mib = profile.memory_limit_mib.value
    if facts.memory_bytes < needed_mib * 1024 * 1024:
        reasons.append(
            Reason(
                f"it has {facts.memory_bytes // (1024 * 1024)} MiB of memory,"
                f" the profile lets the agent use {needed_mib:g}"
            )
        )
    return tuple(reasons)


def _runnable(facts: BoardFacts) -> tuple[Reason, ...]:
    """What no profile can mend."""
    if facts.userland_bits != 64:
        return (
            Reason(
                f"its system is {facts.userland_bits}-bit ({facts.architecture}), for which numpy, ONNX Runtime"
                " and LiteRT have no packages",
                "install the 64-bit system image; every Raspberry Pi since the 3 runs it",
            ),
        )
    reasons = []
    if facts.python not in PYTHONS:
        found = f"Python {facts.python}" if facts.python else "no Python"
        reasons.append(
            Reason(f"it has {found}, the agent runs on {PYTHONS[0]} to {PYTHONS[-1]}", "install python3")
        )
    if not facts.glibc:
        reasons.append(Reason("its C library is not glibc", "use a system image with glibc, like Debian's"))
    return tuple(reasons)


def runtime_fits(runtime: RuntimeManifest, facts: BoardFacts) -> tuple[Reason, ...]:
    """Why a runtime can't run on a board with `facts`; empty when it can."""
    reasons = []
    platform = runtime.platform
    if platform.architecture != facts.architecture:
        reasons.append(
            Reason(f"the runtime is for {platform.architecture}, the board is {facts.architecture}")
        )
    if platform.python != facts.python:
        reasons.append(
            Reason(f"the runtime is for Python {platform.python}, the board has {facts.python or 'none'}")
        )
    if facts.glibc and version_key(platform.glibc) > version_key(facts.glibc):
        reasons.append(Reason(f"the runtime needs glibc {platform.glibc}, the board has {facts.glibc}"))
    for layer in runtime.layers:
        if 0 < layer.page_size_bytes < facts.page_size_bytes:
            reasons.append(
                Reason(
                    f"`{layer.name}` {layer.version} can be loaded with pages of {layer.page_size_bytes} bytes at most,"
                    f" the board's are {facts.page_size_bytes}"
                )
            )
    return tuple(reasons)


def bundle_fits(bundle: BundleManifest, runtime: RuntimeManifest, *, profile: str) -> tuple[Reason, ...]:
    """Why a bundle can't be run by a runtime on a board of `profile`; empty when it can."""
    reasons = []
    if bundle.profile != profile:
        reasons.append(Reason(f"the bundle is made for `{bundle.profile}`"))
    if bundle.requires.architectures and runtime.platform.architecture not in bundle.requires.architectures:
        reasons.append(Reason(f"the bundle is for {', '.join(bundle.requires.architectures)}"))
    least = bundle.requires.engines.get(runtime.engine.value)
    if least is None:
        reasons.append(
            Reason(
                f"the bundle needs {' or '.join(bundle.requires.engines)}, the runtime has {runtime.engine.value}"
            )
        )
    elif version_key(least) > version_key(runtime.engine_version):
        reasons.append(
            Reason(
                f"the bundle needs {runtime.engine.value} {least}, the runtime has {runtime.engine_version}"
            )
        )
    return tuple(reasons)
