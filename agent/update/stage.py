"""Staging: all that a verified desired state names is brought onto the board, or nothing of it is.

The rule: what is wrong for this board is refused before anything is copied; what is missing or has no room is said
before anything is copied; a generation's folder appears last, when everything that it names is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.board import BoardConfig
from agent.contract.codec import encode
from agent.contract.errors import ArtifactError, Inconsistent, ReleaseMixed, WrongBoard
from agent.contract.manifest import BundleManifest
from agent.contract.profile import bundle_fits, runtime_fits
from agent.contract.release import DesiredState, GenerationModel
from agent.contract.runtime import RuntimeManifest
from agent.update.files import Files, leftovers, temporary_beside
from agent.update.folder import UpdateFolder
from agent.update.hardware import facts
from agent.update.inbox import BLOBS
from agent.update.objects import Needed, ObjectStore

if TYPE_CHECKING:
    from agent.update.verify import Verifier

GENERATION = "generation.json"


@dataclass(frozen=True)
class Plan:
    """All manifests that a desired state leads to, verified."""

    desired: DesiredState
    runtime_bytes: bytes
    runtime: RuntimeManifest
    bundles: tuple[tuple[str, bytes, BundleManifest], ...]

    @property
    def digests(self) -> frozenset[str]:
        """Every object that the generation needs."""
        layers = {layer.sha256 for layer in self.runtime.layers}
        return frozenset(
            {self.desired.generation.runtime, *layers, *(digest for digest, _, _ in self.bundles)}
        )

    @property
    def size_bytes(self) -> int:
        """What all of it takes, unpacked."""
        layers = sum(layer.unpacked_bytes for layer in self.runtime.layers)
        return layers + sum(manifest.size_bytes for _, _, manifest in self.bundles)

    @property
    def blobs(self) -> frozenset[str]:
        """Every blob that the objects are made from."""
        files = {entry.sha256 for _, _, manifest in self.bundles for entry in manifest.files}
        return frozenset({layer.sha256 for layer in self.runtime.layers} | files)


def plan(desired: DesiredState, *, verifier: Verifier, folder: UpdateFolder, config: BoardConfig) -> Plan:
    """Read and judge every manifest that a verified desired state names.

    Raises:
        WrongBoard: a bundle or the runtime is for another board.
        ReleaseMixed: a release does not hold the bundle, or not under this name, or with these budgets.
        InboxIncomplete, SignatureInvalid, DigestMismatch, …: see `Verifier`.
    """
    generation = desired.generation
    runtime_bytes, runtime = verifier.runtime(generation.runtime)
    board = facts(folder.root)
    for reason in runtime_fits(runtime, board):
        raise WrongBoard(
            artifact="the runtime", made_for=runtime.platform, board=config.profile, reason=reason.fact
        )
    bundles = {}
    for model in generation.models:
        _check_release(model, verifier=verifier, config=config)
        data, manifest = verifier.bundle(model.bundle)
        for reason in bundle_fits(manifest, runtime, profile=config.profile):
            raise WrongBoard(
                artifact=f"the bundle of {model.release}",
                made_for=f"`{manifest.profile}`",
                board=config.profile,
                reason=reason.fact,
            )
        bundles[model.bundle] = (model.bundle, data, manifest)
    return Plan(
        desired=desired, runtime_bytes=runtime_bytes, runtime=runtime, bundles=tuple(bundles.values())
    )


def stage(plan: Plan, *, store: ObjectStore, pinned: frozenset[str], files: Files) -> None:
    """Bring everything that `plan` names onto the board.

    Args:
        plan: what is needed.
        store: where objects lie, with the inbox.
        pinned: objects that something on the board refers to; they are never taken away.
        files: the file system.

    Raises:
        InboxIncomplete, BoardDiskFull, DigestMismatch, SizeMismatch, ArchiveUnsafe, InboxUnsafe: nothing was staged.
    """
    title = plan.desired.generation.title
    _drop_damaged(plan, store=store, pinned=pinned)
    layers = store.missing_layers(plan.runtime)
    bundles = [bundle for bundle in plan.bundles if not store.has(bundle[0])]
    needed = [Needed(layer.sha256, layer.size_bytes, f"{layer.name} {layer.version}") for layer in layers]
    for _, _, manifest in bundles:
        needed += [
            Needed(entry.sha256, entry.size_bytes, f"{manifest.model}/{entry.path}")
            for entry in manifest.files
        ]
    store.check_inbox(needed, what=title)
    store.check_room(layers, sum(manifest.size_bytes for _, _, manifest in bundles), what=title)
    for layer in layers:
        store.put_layer(layer)
    store.put_runtime(plan.desired.generation.runtime, plan.runtime_bytes)
    for digest, data, manifest in bundles:
        store.put_bundle(digest, data, manifest)
    write_generation(plan.desired, folder=store.folder, files=files)
    for sha256 in sorted(plan.blobs):
        store.inbox.discard(BLOBS, sha256)


def write_generation(desired: DesiredState, *, folder: UpdateFolder, files: Files) -> None:
    """Write `generations/<n>/`, whole or not at all.

    Raises:
        Inconsistent: another generation with this number is in use.
    """
    final = folder.generation(desired.generation.number)
    data = encode(desired.generation)
    if final.is_dir():
        if (final / GENERATION).is_file() and (final / GENERATION).read_bytes() == data:
            return
        if final.name in {str(folder.linked(folder.current)), str(folder.linked(folder.trial))}:
            raise Inconsistent(generation=final.name, reason="its number is taken by the one that serves")
        files.remove_tree(final)
    made = temporary_beside(final)
    files.mkdir(made, mode=0o755)
    files.write(made / GENERATION, [data], mode=0o444)
    files.sync(made / GENERATION)
    files.sync_folder(made)
    files.rename(made, final)
    files.sync_folder(folder.generations)


def collect_garbage(
    folder: UpdateFolder, *, store: ObjectStore, generations: frozenset[int], pinned: frozenset[str]
) -> None:
    """Take away generations and objects that nothing refers to. Never called while a trial is in progress."""
    for entry in sorted(folder.generations.iterdir()):
        if entry.name.isdigit() and int(entry.name) not in generations:
            store.files.remove_tree(entry)
    for entry in leftovers(folder.generations):
        store.files.remove_tree(entry)
    for digest in store.digests():
        if digest not in pinned:
            store.remove(digest)


def _check_release(model: GenerationModel, *, verifier: Verifier, config: BoardConfig) -> None:
    """A desired state may not put a bundle under the name or the budgets of a release that is not its own."""
    release = verifier.release(model.release)
    if config.profile not in release.bundles:
        raise WrongBoard(
            artifact=model.release,
            made_for=", ".join(f"`{profile}`" for profile in release.bundles) or "no board",
            board=config.profile,
            reason="it holds no bundle for this profile",
        )
    reasons = {
        f"it holds another bundle than {model.bundle[:12]}… for `{config.profile}`": (
            release.bundles.get(config.profile) != model.bundle
        ),
        f"it is to be served as `{model.name}`": model.name != release.name,
        "its budgets are others": model.budgets != release.budgets,
    }
    for reason, applies in reasons.items():
        if applies:
            raise ReleaseMixed(release=model.release, reason=reason)


def _drop_damaged(plan: Plan, *, store: ObjectStore, pinned: frozenset[str]) -> None:
    """A bundle that is there but does not hold what it should is taken away, so that it is brought anew; one that
    serves is left where it is, and said."""
    for digest, _, _ in plan.bundles:
        if not store.has(digest):
            continue
        try:
            store.verify_bundle(digest)
        except ArtifactError:
            if digest in pinned:
                raise
            store.remove(digest)
