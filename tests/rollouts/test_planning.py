"""A plan: the same until it begins, whoever can't take part is named, and boards are in one open rollout at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agent.contract.errors import (
    DeviceUnknown,
    NoRollout,
    PlanInvalid,
    ReleaseUnknown,
    RolloutOpen,
    RolloutUnknown,
)
from agent.contract.profile import BoardFacts
from edge.config import FleetFolder
from edge.inventory import Device, Inventory
from edge.rollouts.folders import RolloutFolders
from edge.rollouts.plan import Plan
from edge.rollouts.planning import RolloutRequest, draft
from edge.rollouts.state import RolloutEvent
from edge.rollouts.workspace import Workspace
from tests.repository.fleet import make_fleet, passphrase

PROFILE = "raspberry-pi-5"


def facts() -> BoardFacts:
    return BoardFacts(
        architecture="aarch64", userland_bits=64, python="3.11", glibc="2.36", page_size_bytes=16384,
        memory_bytes=8 << 30, cores=4, disk_free_bytes=10**10, os="Debian", model="Raspberry Pi 5", serial="1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet of six boards; each test gets a copy."""
    fleet = make_fleet(tmp_path_factory.mktemp("planning"))
    workspace = Workspace(fleet.folder, passphrase)
    for number in range(6):
        add(workspace, f"lab-{number}")
    return fleet.folder.path


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(made, tmp_path / "fleet", symlinks=True)
    return Workspace(FleetFolder.open(tmp_path / "fleet"), passphrase)


def add(workspace: Workspace, name: str, *, profile: str | None = PROFILE, enrolled: bool = True) -> None:
    Inventory(workspace.folder).add(
        Device(
            name=name,
            device_id=f"b-{name}",
            host="h",
            user="pi",
            host_key="k",
            fingerprint="f",
            profile=profile,
            public_key="0" * 64 if enrolled else None,
            facts=facts(),
        )
    )


def planned(workspace: Workspace, *, waves: str = "1,50%,100%", **asked: object) -> Plan:
    return draft(workspace, RolloutRequest(release="digits@1", waves=waves, **asked)).plan  # type: ignore[arg-type]


def test_what_plan_shows_is_what_start_begins(workspace: Workspace) -> None:
    plan = planned(workspace)
    assert planned(workspace) == plan
    assert plan.rollout == "digits-1-1"
    assert [len(wave.members) for wave in plan.waves] == [1, 2, 3]
    folders = RolloutFolders(workspace.folder)
    with folders.begin(plan) as journal:
        journal.append(RolloutEvent.ABORT)
    again = planned(workspace)
    assert again.rollout == "digits-1-2"
    assert [one.plan for one in folders.all()] == [plan]


def test_who_can_not_take_part_is_named_and_an_error_where_it_was_asked_for(workspace: Workspace) -> None:
    add(workspace, "bare", enrolled=False)
    add(workspace, "nano", profile="jetson-orin-nano")
    made = draft(workspace, RolloutRequest(release="digits@1"))
    reasons = {one.device: one.reason for one in made.left_out}
    assert reasons["bare"] == "it was never flashed"
    assert "no bundle for its profile" in reasons["nano"]
    with pytest.raises(PlanInvalid, match="never flashed"):
        planned(workspace, devices=("bare",))
    with pytest.raises(DeviceUnknown):
        planned(workspace, devices=("nobody",))
    with pytest.raises(PlanInvalid, match="no board can take part"):
        planned(workspace, groups=("nano",))
    with pytest.raises(ReleaseUnknown):
        draft(workspace, RolloutRequest(release="digits@9"))


def test_a_busy_board_is_named(workspace: Workspace) -> None:
    with workspace.inventory.hold("lab-3"):
        assert draft(workspace, RolloutRequest(release="digits@1")).busy == ("lab-3",)


def test_groups_devices_and_boards_in_no_wave(workspace: Workspace) -> None:
    add(workspace, "roof")
    names = {member.device for member in planned(workspace, groups=("lab-*",), devices=("roof",)).members}
    assert names == {"roof", *(f"lab-{number}" for number in range(6))}
    made = draft(workspace, RolloutRequest(release="digits@1", waves="roof,2"))
    assert [len(wave.members) for wave in made.plan.waves] == [1, 1]
    assert len(made.in_no_wave) == 5


def test_a_board_is_in_one_open_rollout_at_a_time(workspace: Workspace) -> None:
    folders = RolloutFolders(workspace.folder)
    with pytest.raises(NoRollout):
        folders.chosen(None)
    with folders.begin(planned(workspace, devices=("lab-1", "lab-2"), waves="100%")):
        pass
    other = planned(workspace, devices=("lab-2", "lab-3"), waves="100%")
    with pytest.raises(RolloutOpen, match="digits-1-1"), folders.begin(other):
        pass
    apart = planned(workspace, devices=("lab-4",), waves="100%")
    with folders.begin(apart):
        pass
    assert folders.chosen(None).name == "digits-1-2", "the open one that was begun last"
    with pytest.raises(RolloutUnknown, match="did you mean `digits-1-1`"):
        folders.chosen("digit-1-1")


@pytest.mark.parametrize(
    "conditions", [{"max_failed": "many"}, {"dwell_s": "-1"}, {"max_slowdown": "nan"}, {"patience": "1"}]
)
def test_a_condition_that_can_not_be_read_is_an_error_at_the_door(
    workspace: Workspace, conditions: dict[str, str]
) -> None:
    with pytest.raises(PlanInvalid):
        planned(workspace, conditions=conditions)
