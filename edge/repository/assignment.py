"""Which desired states may be signed, and what they lead to.

The rule: a counter only grows, and nothing is asked of a board that this repository could not send it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from agent.contract.errors import AssignRefused
from agent.contract.names import parse_release
from agent.contract.release import DesiredState, Release
from agent.contract.targets import bundle_target, release_target, runtime_target

NONCE = re.compile(r"[0-9a-f]{16,64}\Z")


def named_targets(state: DesiredState) -> list[str]:
    """The targets of the role `targets` that a desired state leads to."""
    names = [runtime_target(state.generation.runtime)]
    for model in state.generation.models:
        names += [bundle_target(model.bundle), release_target(*parse_release(model.release))]
    return list(dict.fromkeys(names))


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
