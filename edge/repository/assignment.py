"""Which desired states may be signed, and what they lead to.

The rule: a counter only grows, and nothing is asked of a board that this repository could not send it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tuf.api.metadata import TargetFile

from agent.contract.codec import decode
from agent.contract.errors import AssignRefused, RepositoryDamaged
from agent.contract.manifest import BundleManifest
from agent.contract.names import parse_release
from agent.contract.release import DesiredState, Release
from agent.contract.runtime import RuntimeManifest
from agent.contract.targets import bundle_target, release_target, runtime_target
from edge.repository.store import Store

NONCE = re.compile(r"[0-9a-f]{16,64}\Z")


def check(
    state: DesiredState,
    *,
    last: DesiredState | None,
    targets: Collection[str],
    release: Callable[[str, int], Release],
) -> None:
    """Look at a desired state before it is signed.

    Args:
        state: to be signed.
        last: what the device is asked for now, or None.
        targets: paths of all targets of the role `targets`.
        release: reads a release that is among them.

    Raises:
        AssignRefused: with the reason.
    """
    if last and state.counter <= last.counter:
        raise _refused(state, f"the last one has counter {last.counter}")
    if not NONCE.match(state.nonce):
        raise _refused(state, "its nonce is not 16 to 64 hexadecimal digits")
    if runtime_target(state.generation.runtime) not in targets:
        raise _refused(state, f"the runtime {state.generation.runtime[:12]} is not in the repository")
    for model in state.generation.models:
        name, version = parse_release(model.release)
        if release_target(name, version) not in targets:
            raise _refused(state, f"there is no release `{model.release}`")
        if model.bundle not in release(name, version).bundles.values():
            raise _refused(state, f"the bundle {model.bundle[:12]} is not of release `{model.release}`")


def led_to(
    state: DesiredState, targets: Mapping[str, TargetFile], store: Store
) -> tuple[list[TargetFile], dict[str, Path]]:
    """What a board must have to run a desired state.

    Args:
        state: what it is asked for.
        targets: of the role `targets`, by path.
        store: where they lie.

    Returns:
        The manifests, and the files of blobs by their hash.

    Raises:
        BlobMissing: one is not here.
        RepositoryDamaged: a file is changed, or `targets` does not name what must be there.
    """
    names = [runtime_target(state.generation.runtime)]
    for model in state.generation.models:
        names += [bundle_target(model.bundle), release_target(*parse_release(model.release))]
    manifests = {}
    for name in names:
        if name not in targets:
            raise RepositoryDamaged(path=store.folder, reason=f"`targets` does not name `{name}`")
        manifests[name] = targets[name]
    blobs = {}
    for layer in decode(RuntimeManifest, store.read(manifests[names[0]])).layers:
        blobs[layer.sha256] = store.blob(layer.sha256, layer.size_bytes)
    for model in state.generation.models:
        for entry in decode(BundleManifest, store.read(manifests[bundle_target(model.bundle)])).files:
            blobs[entry.sha256] = store.blob(entry.sha256, entry.size_bytes)
        store.read(manifests[release_target(*parse_release(model.release))])
    return list(manifests.values()), blobs


def check_devices(states: Collection[DesiredState]) -> None:
    """Look at desired states that are to be signed together.

    Raises:
        AssignRefused: two are for the same device.
    """
    seen: set[str] = set()
    for state in states:
        if state.device in seen:
            raise _refused(state, "the same device is named twice")
        seen.add(state.device)


def _refused(state: DesiredState, reason: str) -> AssignRefused:
    return AssignRefused(device=state.device, counter=state.counter, reason=reason)
