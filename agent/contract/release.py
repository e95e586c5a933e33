"""Releases, generations and desired states: what is published, what a board runs, and what it is asked to run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_digest, check_name, parse_release

RELEASE_SCHEMA = "edge.release/1"
GENERATION_SCHEMA = "edge.generation/1"
DESIRED_SCHEMA = "edge.desired/1"
MAX_COUNTER = 2**53 - 1
"""Of desired states: every reader of JSON and every store keeps it exactly."""


@dataclass(frozen=True)
class Budgets:
    """What a model may cost on a board. None: not stated.

    Attributes:
        p95_ms: compute time of one batch-1 inference at the 95th percentile, in milliseconds of CPU time.
        memory_mb: memory that the model adds to the agent, in 10**6 bytes.
    """

    p95_ms: float | None = None
    memory_mb: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("p95_ms", "memory_mb"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise DocumentInvalid(document="Budgets", reason=f"`{name}` must be above 0, found {value}")


@dataclass(frozen=True)
class Release:
    """`digits@2`: profile to bundle digest of one model name, signed by being a TUF target.

    Attributes:
        name, version: `digits`, 2.
        bundles: profile name to bundle digest.
        budgets: what a trial is judged by.
        forced: published against a negative verdict of the conversion.
        created_at: seconds since 1970, UTC.
    """

    name: str
    version: int
    bundles: Mapping[str, str]
    budgets: Budgets = Budgets()
    forced: bool = False
    created_at: int = 0
    schema: str = RELEASE_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _known_schema("Release", self.schema, RELEASE_SCHEMA)
        check_name(self.name, what="model")
        if self.version < 1:
            raise DocumentInvalid(
                document="Release", reason=f"`version` must be 1 or more, found {self.version}"
            )
        for profile, bundle in self.bundles.items():
            check_name(profile, what="profile")
            check_digest(bundle, what="bundle digest")

    @property
    def title(self) -> str:
        """`digits@2`."""
        return f"{self.name}@{self.version}"


class ModelRole(str, enum.Enum):
    """How a generation's model takes part."""

    PRIMARY = "primary"
    CHALLENGER = "challenger"
    SHADOW = "shadow"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class GenerationModel:
    """One model of a generation.

    Attributes:
        name: the name it is served under.
        release: `digits@2`.
        bundle: bundle digest.
        role: how it takes part.
        share: part of the requests to `name` that it answers, in percent.
        budgets: from its release.
    """

    name: str
    release: str
    bundle: str
    role: ModelRole = ModelRole.PRIMARY
    share: int = 100
    budgets: Budgets = Budgets()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, what="model")
        parse_release(self.release)
        check_digest(self.bundle, what="bundle digest")
        if not 0 <= self.share <= 100:
            raise DocumentInvalid(
                document="GenerationModel", reason=f"`share` must be 0 to 100, found {self.share}"
            )


@dataclass(frozen=True)
class Generation:
    """What a board runs: one runtime and a list of models, tried and taken back together.

    Attributes:
        number: the counter of the desired state that it came with, so it only grows.
        runtime: runtime digest.
        models: what is served.
    """

    number: int
    runtime: str
    models: tuple[GenerationModel, ...]
    schema: str = GENERATION_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _known_schema("Generation", self.schema, GENERATION_SCHEMA)
        check_digest(self.runtime, what="runtime digest")
        if not 1 <= self.number <= MAX_COUNTER:
            reason = f"`number` must be 1 to {MAX_COUNTER}, found {str(self.number)[:20]}"
            raise DocumentInvalid(document="Generation", reason=reason)

    @property
    def title(self) -> str:
        """`digits@2 + faces@1`, or `nothing`."""
        return " + ".join(model.release for model in self.models) or "nothing"

    def same_content(self, other: Generation) -> bool:
        """Whether both run the same runtime and the same models in the same roles."""
        return self.runtime == other.runtime and self.models == other.models


LONGEST_PHASE_S = 86_400.0
"""No deadline of a trial is longer: what is signed can't keep a board in progress for ever."""
MOST_ATTEMPTS = 100
LARGEST_FACTOR = 1e6


@dataclass(frozen=True)
class TrialTerms:
    """How a trial is to be carried out.

    Attributes:
        probation_s: how long it must serve well before it is confirmed; 0 to `LONGEST_PHASE_S`, as are
        check_timeout_s: deadline of the check beside the old model, and
        start_timeout_s: deadline from switching to the first healthy answer.
        max_attempts: how often it is begun before it is given up, 1 to `MOST_ATTEMPTS`.
        latency_factor, memory_factor: budgets relative to the model that it replaces, where its release states none;
            above 0, at most `LARGEST_FACTOR`.
    """

    probation_s: float = 30.0
    check_timeout_s: float = 300.0
    start_timeout_s: float = 120.0
    max_attempts: int = 3
    latency_factor: float = 3.0
    memory_factor: float = 2.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("probation_s", "check_timeout_s", "start_timeout_s"):
            if not 0 <= getattr(self, name) <= LONGEST_PHASE_S:
                raise _out_of_bounds(name, f"0 to {LONGEST_PHASE_S:.0f}", getattr(self, name))
        for name in ("latency_factor", "memory_factor"):
            if not 0 < getattr(self, name) <= LARGEST_FACTOR:
                raise _out_of_bounds(name, f"above 0, at most {LARGEST_FACTOR:.0f}", getattr(self, name))
        if not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            raise _out_of_bounds("max_attempts", f"1 to {MOST_ATTEMPTS}", self.max_attempts)


@dataclass(frozen=True)
class DesiredState:
    """What one device is asked to run; signed by being a TUF target of the delegated role `desired`.

    Attributes:
        fleet, device: whom it is for; another board refuses it.
        counter: only grows; the authority on what is newer. Equal to `generation.number`.
        generation: what to run.
        terms: how to try it.
        finalise: the counter up to which a confirmed generation's predecessor may be reclaimed; 0 for none.
        nonce: random hexadecimal digits that the board's signed report repeats.
        not_before: the host's clock when it was made, seconds since 1970: a floor for the board's clock.
    """

    fleet: str
    device: str
    counter: int
    generation: Generation
    nonce: str
    not_before: int
    terms: TrialTerms = TrialTerms()
    finalise: int = 0
    schema: str = DESIRED_SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _known_schema("DesiredState", self.schema, DESIRED_SCHEMA)
        check_name(self.fleet, what="fleet")
        check_name(self.device, what="device")
        if self.counter != self.generation.number:
            raise DocumentInvalid(document="DesiredState", reason="`counter` and `generation.number` differ")


def _known_schema(document: str, found: str, known: str) -> None:
    if found != known:
        raise DocumentInvalid(
            document=document, reason=f"`schema` is {found!r}, this version reads {known!r}"
        )


def _out_of_bounds(field: str, bounds: str, found: float) -> DocumentInvalid:
    return DocumentInvalid(document="TrialTerms", reason=f"`{field}` must be {bounds}, found {found}")
