"""A rollout's plan: fixed when it begins, kept as the first entry of its journal, never computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.contract.errors import DocumentInvalid
from agent.contract.names import check_digest, check_name, parse_release


@dataclass(frozen=True, kw_only=True)
class Member:
    """A board that takes part.

    Attributes:
        device: its name in the inventory. device_id: what its signed words call it.
        profile: its profile's name. bundle: digest of the release's bundle for it.
    """

    device: str
    device_id: str
    profile: str
    bundle: str

    def __post_init__(self) -> None:
        check_name(self.device, what="device")
        check_digest(self.bundle, what="bundle digest")


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The boards that get the release together, and how the wave was asked for (`10%`)."""

    rule: str
    members: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a rollout waits, all in seconds of this machine being awake.

    Attributes:
        reach_s: for a board that can't be reached, until it counts as unreachable.
        hold_s: for the gate, once the boards were watched for the dwell time, until the rollout is paused.
    """

    reach_s: float = 600.0
    hold_s: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which boards get which release, in which order, under which conditions.

    Attributes:
        rollout: its id, `digits-4-1`.
        release: `digits@4`.
        waves: at least one, none empty; no board is in two.
        conditions: of the gate, as texts (`edge.rollouts.conditions`).
        patience: how long it waits.
    """

    rollout: str
    release: str
    waves: tuple[Wave, ...]
    conditions: Mapping[str, str]
    patience: Patience = Patience()

    def __post_init__(self) -> None:
        check_name(self.rollout, what="rollout")
        parse_release(self.release)
        names = [member.device for member in self.members]
        if not names or not all(wave.members for wave in self.waves):
            raise DocumentInvalid(document="Plan", reason="a wave has no board")
        if len(set(names)) != len(names):
            raise DocumentInvalid(document="Plan", reason="a board is in two waves")

    @property
    def members(self) -> tuple[Member, ...]:
        """All boards, in the order of their waves."""
        return tuple(member for wave in self.waves for member in wave.members)
