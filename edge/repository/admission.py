"""Which bundles may become a release.

The rule: what convert called bad or could not decide is not published, and the golden set is judged by the very
function that judges a trial on the board; `--force` overrules a verdict, and the release says that it was forced.
What would make a release ambiguous is refused in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.contract.codec import decode, digest
from agent.contract.errors import (
    DigestMismatch,
    MixedModels,
    NothingToPublish,
    ProfileTwice,
    PublishRefused,
)
from agent.contract.manifest import BundleManifest, GoldenOrigin
from agent.contract.names import check_name
from agent.contract.release import Budgets, TrialTerms
from agent.contract.trial import Measurement, judge

ADMITTED_VERDICTS = ("within", "not-judged")


class Publishable(Protocol):
    """A bundle as `edge.bundle` opens it: its manifest, stored as `manifest_bytes`, and the folder of its files."""

    @property
    def manifest_bytes(self) -> bytes:
        """The stored bytes of `manifest.json`."""

    @property
    def digest(self) -> str:
        """SHA-256 of them."""

    @property
    def folder(self) -> Path:
        """Where its files lie."""


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A bundle that may be published.

    Attributes:
        manifest, manifest_bytes, digest, folder: the bundle; `manifest` was read from the bytes that are signed for.
        objection: why it is published by force only, or None.
    """

    manifest: BundleManifest
    manifest_bytes: bytes
    digest: str
    folder: Path
    objection: str | None


def admit(name: str, bundles: Sequence[Publishable], *, force: bool) -> tuple[Admitted, ...]:
    """The bundles of a release of `name`, each looked at.

    Raises:
        NothingToPublish: there are none.
        NameInvalid: `name` is no name.
        DigestMismatch: a manifest is not what its bundle's digest says.
        DocumentInvalid: a manifest is not valid.
        MixedModels: they are of different models.
        ProfileTwice: two are for one profile.
        PublishRefused: one has a bad verdict and `force` is not given.
    """
    check_name(name, what="model")
    admitted = tuple(_look_at(name, bundle) for bundle in bundles)
    if not admitted:
        raise NothingToPublish(name=name)
    models = sorted({bundle.manifest.model for bundle in admitted})
    if len(models) > 1:
        raise MixedModels(models=", ".join(models))
    by_profile: dict[str, Admitted] = {}
    for bundle in admitted:
        first = by_profile.setdefault(bundle.manifest.profile, bundle)
        if first is not bundle:
            raise ProfileTwice(profile=bundle.manifest.profile, first=first.folder, second=bundle.folder)
    if not force:
        for bundle in admitted:
            if bundle.objection:
                raise PublishRefused(profile=bundle.manifest.profile, reason=bundle.objection)
    return admitted


def _look_at(name: str, bundle: Publishable) -> Admitted:
    found = digest(bundle.manifest_bytes)
    if found != bundle.digest:
        raise DigestMismatch(file=bundle.folder / "manifest.json", expected=bundle.digest, found=found)
    manifest = decode(BundleManifest, bundle.manifest_bytes)
    return Admitted(
        manifest=manifest,
        manifest_bytes=bundle.manifest_bytes,
        digest=found,
        folder=bundle.folder,
        objection=objection(manifest, name=name),
    )


def objection(manifest: BundleManifest, *, name: str) -> str | None:
    """Why a bundle should not be released as `name`, in words, or None."""
    if manifest.verdict not in ADMITTED_VERDICTS:
        return {
            "outside": "its accuracy is outside the budget",
            "unknown": "too little data to tell whether its accuracy is within the budget",
        }.get(manifest.verdict, f"its verdict is `{manifest.verdict}`, which this version does not know")
    golden = manifest.golden
    if golden.origin is GoldenOrigin.SANITY:
        return None
    if golden.floor is None or golden.agreement is None:
        return "its golden set states no agreement with the float model, so no board could judge its answers"
    measurement = Measurement(
        model=manifest.model, release=name, samples=golden.samples, proof_within=None,
        agreement=golden.agreement, p50_ms=0.0, p95_ms=0.0, memory_mb=0.0, engine="", engine_version="",
    )  # fmt: skip
    check = judge(measurement, floor=golden.floor, budgets=Budgets(), replaced=None, terms=TrialTerms())
    return check.message
