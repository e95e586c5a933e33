"""A container with systemd whose user becomes root with a password: the road as on a Raspberry Pi of 2026."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.beds.board import PASSWORD
from tests.beds.fixtures import MakeSystemd
from tests.beds.systemd_container import SystemdContainer
from tests.journeys.arrivals import arrive, nothing_is_missing
from tests.journeys.bundles import digits
from tests.journeys.conftest import MakeLaptop, publish_three
from tests.journeys.containers import added, flash, is_bare, on
from tests.journeys.laptop import Client, Laptop, forwarded, wait_until

pytestmark = [pytest.mark.bed, pytest.mark.timeout(1200)]

UNITS = ("edge-agent.service", "edge-recover.service", "edge-update.path", "edge-update.service")


@pytest.fixture
def laptop(new_laptop: MakeLaptop, tmp_path: Path) -> Laptop:
    laptop = new_laptop(bed=True, interval_s="0.5")
    publish_three(laptop, tmp_path, profile="linux-x86-64", model="digits.onnx")
    return laptop


def test_the_road_with_a_sudo_password_once(laptop: Laptop, systemd_boards: MakeSystemd) -> None:
    board = systemd_boards("road")
    added(laptop, board)
    refused_without_the_right_password(laptop, board)

    first = flash(laptop, "digits@1", password=PASSWORD)
    assert "kept running by systemd" in first.err
    assert PASSWORD not in first.err + first.out
    has_the_units(board)
    assert "nothing to do" in flash(laptop, "digits@1").err

    samples, _ = digits()
    with forwarded(laptop, "kitchen") as port:
        with Client(port, samples[1].tolist()) as client:
            bad = flash(laptop, "digits@2", code=3)
            assert "[trial.golden-disagrees]" in bad.err
            assert "kitchen runs digits@1, as before" in bad.err
            assert client.versions == ["1"]
            flash(laptop, "digits@3")
            wait_until(lambda: client.versions[-1] == "3", "version 3 answers")
            assert "runs digits@1" in flash(laptop, "--previous").err
            wait_until(lambda: client.versions[-1] == "1", "version 1 answers again")
        assert client.failed == []
        assert client.answered > 50
    assert laptop.reported("kitchen")["state"] == "confirmed"
    rebooted_and_serves(laptop, board)
    wiped(laptop, board)


def refused_without_the_right_password(laptop: Laptop, board: SystemdContainer) -> None:
    for password in (None, "wrong-password"):
        refused = flash(laptop, "digits@1", code=1, password=password)
        assert "[board.sudo-refused]" in refused.err
        assert "hint:" in refused.err
        assert "wrong-password" not in refused.err
        is_bare(board)


def has_the_units(board: SystemdContainer) -> None:
    listed = on(board, "ls /etc/systemd/system").split()
    assert [name for name in listed if name.startswith("edge-")] == sorted(UNITS)
    active = "systemctl is-active edge-agent.service edge-update.path"
    assert on(board, active).split() == ["active", "active"]
    owner = on(board, "ps -o user= -p $(systemctl show -P MainPID edge-agent.service)")
    assert owner == "edge"
    properties = "User,NoNewPrivileges,ProtectSystem,ProtectHome,WatchdogUSec"
    shown = dict(
        line.split("=", 1)
        for line in on(board, f"systemctl show -p {properties} edge-agent.service").splitlines()
    )
    assert (shown["User"], shown["NoNewPrivileges"], shown["ProtectSystem"]) == ("edge", "yes", "strict")
    assert shown["WatchdogUSec"] not in ("0", "infinity")
    assert "/opt/edge/inbox" in on(board, "systemctl show -p Paths edge-update.path")
    assert on(board, "stat -c %U /opt/edge/objects /opt/edge/state /opt/edge/inbox").split() == [
        "root",
        "root",
        "pi",
    ]
    link = "stat -c %U:%G:%a /opt/edge/mqtt.key /opt/edge/mqtt.pub /opt/edge/link /opt/edge/outbox"
    assert on(board, link).split() == ["root:edge:640", "root:root:644", "pi:pi:755", "edge:edge:700"]
    assert on(board, "touch /opt/edge/objects/x /opt/edge/current/x 2>&1 | grep -c denied") == "2"
    assert on(board, "systemctl --failed --no-legend") == ""


def rebooted_and_serves(laptop: Laptop, board: SystemdContainer) -> None:
    board.shut_down()
    board.boot()
    answers = "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:%d/v2/health/ready').status)\""
    port = wait_until(lambda: on(board, "grep -o '\"port\":[0-9]*' /opt/edge/run/agent.json"), "it runs")
    wait_until(
        lambda: (
            on(
                board,
                answers % int(on(board, "grep -o '\"port\":[0-9]*' /opt/edge/run/agent.json").split(":")[1]),
            )
            == "200"
        ),
        f"it serves on {port} after the boot",
    )
    assert "nothing to do" in flash(laptop, "digits@1").err
    flash(laptop, "digits@3")


def wiped(laptop: Laptop, board: SystemdContainer) -> None:
    refused = laptop.does("device", "remove", "kitchen", "--wipe", "-y", code=1)
    assert "[board.sudo-refused]" in refused.err
    assert laptop.reported("kitchen")["state"] == "confirmed", "nothing was forgotten"
    laptop.does(
        "device", "remove", "kitchen", "--wipe", "-y", "--ask-sudo-password", EDGE_SUDO_PASSWORD=PASSWORD
    )
    is_bare(board)


def test_the_road_as_root(laptop: Laptop, systemd_boards: MakeSystemd) -> None:
    board = systemd_boards("root")
    let_root_in = (
        "mkdir -p /root/.ssh && cp ~pi/.ssh/authorized_keys /root/.ssh/ && chmod 600 /root/.ssh/authorized_keys"
        " && rm /etc/ssh/sshd_config.d/10-bed.conf && systemctl reload ssh"
    )
    on(board, let_root_in, root=True)
    added(laptop, board, user="root")
    assert "kept running by systemd" in flash(laptop, "digits@1").err
    has_a_running_agent = on(board, "systemctl is-active edge-agent.service edge-update.path").split()
    assert has_a_running_agent == ["active", "active"]
    flash(laptop, "digits@3")
    arrive(laptop, 2)
    nothing_is_missing(laptop, lambda command: on(board, command, root=True))
    laptop.does("device", "remove", "kitchen", "--wipe", "-y")
    is_bare(board)


def test_a_power_cut_in_probation_where_sudo_asks_nothing(
    laptop: Laptop, systemd_boards: MakeSystemd
) -> None:
    board = systemd_boards("cut")
    on(board, "echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/99-pi", root=True)
    added(laptop, board)
    flash(laptop, "digits@1")
    laptop.settings(probation_s="8.0")
    started = laptop.started("flash", "kitchen", "digits@3", until="serves in probation", seconds=200)
    board.power_cut()
    assert started.end().code == 4
    board.boot()
    try:
        wait_until(
            lambda: (board.root / "opt/edge/current").readlink().name == "2",
            "it confirms by itself",
            seconds=90,
        )
    except AssertionError:
        said = "cat /opt/edge/state/update.json /opt/edge/run/agent.json; journalctl --no-pager -u 'edge-*' -n 80"
        print(on(board, said, root=True))
        raise
    assert not (board.root / "opt/edge/trial").is_symlink()
    assert "nothing to do" in flash(laptop, "digits@3").err
    arrive(laptop, 2)
    nothing_is_missing(laptop, lambda command: on(board, command, root=True))
    laptop.settings(probation_s="1.0")
    flash(laptop, "--previous")
    laptop.does("device", "remove", "kitchen", "--wipe", "-y")
    is_bare(board)
