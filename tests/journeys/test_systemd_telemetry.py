"""Telemetry of a container with systemd, where the agent runs hardened and the user's sudo asks for a password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.beds.board import PASSWORD
from tests.beds.fixtures import MakeSystemd
from tests.beds.link import Link
from tests.beds.systemd_container import SystemdContainer
from tests.journeys.arrivals import arrive, boots, nothing_is_missing, way
from tests.journeys.conftest import MakeLaptop, publish_three
from tests.journeys.containers import added, flash, is_bare, on
from tests.journeys.laptop import Laptop, wait_until

pytestmark = [pytest.mark.bed, pytest.mark.timeout(1200)]

LINKS = "stat -c %U:%G:%a /opt/edge/mqtt.key /opt/edge/mqtt.pub /opt/edge/link /opt/edge/link/link.json"
SUDO_USES = "journalctl -q --no-pager _COMM=sudo | grep -c COMMAND="
LISTENERS = r"cat /proc/net/tcp | grep -c ' 0A '"


@pytest.fixture
def laptop(new_laptop: MakeLaptop, tmp_path: Path) -> Laptop:
    laptop = new_laptop(bed=True, interval_s="0.5")
    publish_three(laptop, tmp_path, profile="linux-x86-64", model="digits.onnx")
    return laptop


def test_nothing_is_missing_after_a_reboot_and_a_power_cut_and_sudo_is_asked_once(
    laptop: Laptop, systemd_boards: MakeSystemd
) -> None:
    board = systemd_boards("telemetry")
    added(laptop, board)
    assert "the collector runs in the background" in flash(laptop, "digits@1", password=PASSWORD).err
    arrive(laptop, 4)
    assert way(laptop, "kitchen")["tunnel"] == "up"
    belongs_to_whom_it_should(board)
    used_sudo = on(board, SUDO_USES)
    assert int(used_sudo) > 0

    board.shut_down()
    reports_again(laptop, board, starts=2)
    board.power_cut()
    reports_again(laptop, board, starts=3)
    assert on(board, SUDO_USES) == used_sudo, "telemetry needs no root"

    given = nothing_is_missing(laptop, lambda command: on(board, command, root=True))
    print(f"numbers given by each start: {given}")
    assert len(given) == 3
    (event,) = laptop.does("telemetry", "query", "--events", "--last", "9", "--json").json
    assert event["code"] == "update.confirmed", "told once, whatever was cut"
    told = on(board, "journalctl -q --no-pager -b -u edge-agent.service -p warning", root=True)
    assert "outbox" not in told
    is_wiped(laptop, board)


def belongs_to_whom_it_should(board: SystemdContainer) -> None:
    assert on(board, LINKS).split() == ["root:edge:640", "root:root:644", "pi:pi:755", "pi:pi:644"]
    kept = on(board, "stat -c %U:%G:%a /opt/edge/outbox /opt/edge/outbox/outbox.sqlite", root=True)
    assert kept.split() == ["edge:edge:700", "edge:edge:644"]
    assert "denied" in on(board, "cat /opt/edge/mqtt.key /opt/edge/outbox/outbox.sqlite 2>&1")
    link = json.loads(on(board, "cat /opt/edge/link/link.json"))
    assert "PRIVATE" not in json.dumps(link)


def reports_again(laptop: Laptop, board: SystemdContainer, *, starts: int) -> None:
    board.boot()
    wait_until(lambda: len(boots(laptop)) == starts, f"start {starts}", seconds=120)
    arrive(laptop, 4)
    assert way(laptop, "kitchen")["tunnel"] == "up"


def is_wiped(laptop: Laptop, board: SystemdContainer) -> None:
    wipe = ("device", "remove", "kitchen", "--wipe", "-y", "--ask-sudo-password")
    laptop.does(*wipe, EDGE_SUDO_PASSWORD=PASSWORD)
    is_bare(board)
    wait_until(lambda: on(board, LISTENERS) == "1", "sshd's own port is the only one", seconds=30)
    is_bare(board)
    assert laptop.does("collect", "status", "--json").json["boards"] == []


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_session_that_a_moved_laptop_left_is_ended(
    laptop: Laptop, systemd_boards: MakeSystemd, suite: str
) -> None:
    """The cable swallows everything: sshd on the board knows nothing of it, and holds the old port.

    What trixie's sshd calls its sessions is another name than bookworm's; its Python is 3.13.
    """
    board = systemd_boards("stale", suite=suite)
    with Link(board.board.port) as cable:
        laptop.does("device", "add", f"pi@127.0.0.1:{cable.port}", "--name", "kitchen", "-y")
        flash(laptop, "digits@1", password=PASSWORD)
        arrive(laptop, 2)
        left = json.loads(on(board, "cat /opt/edge/link/link.json"))
        cable.stall()
        elsewhere = f"pi@127.0.0.1:{board.board.port}"
        laptop.does("device", "add", elsewhere, "--name", "kitchen", "--replace-key", "-y")
        arrive(laptop, 4)
        now = json.loads(on(board, "cat /opt/edge/link/link.json"))
        assert now["session"] != left["session"]
        assert on(board, f"ps -o comm= -p {left['session']}") == ""
        assert on(board, LISTENERS) == "3", "sshd, the agent and one tunnel"
        nothing_is_missing(laptop, lambda command: on(board, command, root=True))


def test_a_board_whose_sshd_forwards_nothing_back_is_named(
    laptop: Laptop, systemd_boards: MakeSystemd
) -> None:
    board = systemd_boards("closed")
    added(laptop, board)
    forwards_nothing_back = (
        "echo 'AllowTcpForwarding local' > /etc/ssh/sshd_config.d/20-closed.conf && systemctl reload ssh"
    )
    on(board, forwards_nothing_back, root=True)
    flash(laptop, "digits@1", password=PASSWORD)
    wait_until(lambda: way(laptop, "kitchen")["tunnel"] == "refused", "the state says so", seconds=60)
    assert "kitchen" in way(laptop, "kitchen")["reason"]
    doctor = laptop.does("doctor", "kitchen", "--json", code=1).json
    found = {said["what"]: said for said in doctor if said["where"] == "kitchen"}
    assert (found["way back"]["verdict"], found["forwarding"]["verdict"]) == ("bad", "good")
    assert "AllowTcpForwarding yes" in found["way back"]["hint"]
    assert found["telemetry"]["text"].startswith("refused")
    assert "`edge collect stop` and `edge collect`" in found["telemetry"]["hint"]

    on(board, "rm /etc/ssh/sshd_config.d/20-closed.conf && systemctl reload ssh", root=True)
    laptop.does("collect", "stop")
    laptop.does("collect")
    arrive(laptop, 2)
    assert way(laptop, "kitchen")["tunnel"] == "up"
