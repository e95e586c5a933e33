"""Flash: one board, from bare or old to a verified, tried, running one.

The rule: each step can be repeated. What is on the board is not sent again, what is done is not done again, and
whatever interrupts a flash, the board serves what it served before, and the next flash goes on.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.contract.board import SERVICE_SYSTEMD, BoardConfig, Enrolment
from agent.contract.errors import NoPrevious
from agent.contract.messages import Reported
from agent.contract.profile import BoardFacts, DeviceProfile
from agent.contract.release import DesiredState, Generation, GenerationModel, TrialTerms
from agent.contract.states import UpdateState
from edge.fleet.connection import Board, connect
from edge.fleet.install import install
from edge.fleet.probe import probe
from edge.fleet.push import push
from edge.fleet.status import read_status, wait_for_end
from edge.identity import verify_signed
from edge.inventory import Device
from edge.profiles import choose
from edge.progress import Progress
from edge.rollouts.choice import (
    bundle_for,
    check_board,
    check_fit,
    engine_for,
    next_generation,
    runtime_request,
)
from edge.rollouts.workspace import Workspace
from edge.runtimes import Composed, compose


@dataclass(frozen=True, kw_only=True)
class FlashRequest:
    """What is to be flashed where.

    Attributes:
        device: its name in the inventory.
        release: `digits@2`; None goes back to the generation before the current one.
        engine_wheel: a wheel of the user's own for the inference engine.
        user_install: install without root even where sudo could be had.
        port: where the agent is to listen at its first flash; None takes the fleet's setting.
        retry: try again what this board has refused before.
        adopt: take the board from another fleet.
        re_enrol: give a board with a copied identity a new one.
        password, sudo_password: for this command only; never stored.
    """

    device: str
    release: str | None
    engine_wheel: Path | None = None
    user_install: bool = False
    port: int | None = None
    retry: bool = False
    adopt: bool = False
    re_enrol: bool = False
    password: str | None = None
    sudo_password: str | None = None


@dataclass(frozen=True, kw_only=True)
class FlashOutcome:
    """How it ended.

    Attributes:
        device: its name. title: what the generation is, like `digits@2`.
        changed: False when the board ran it already.
        state: how the update ended. reported: the board's signed report.
        pushed_bytes: what was sent. passed_s: seconds by step.
        notes: what the user should know of this board.
    """

    device: str
    title: str
    changed: bool
    state: UpdateState
    reported: Reported
    pushed_bytes: int = 0
    passed_s: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the board runs what was asked for."""
        return self.state in (UpdateState.CONFIRMED, UpdateState.FINALISED)
