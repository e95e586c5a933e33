"""Real units of a real systemd, whose update process ends again and again and has answered nothing."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from agent.contract.board import SERVICE_SYSTEMD_USER, BoardConfig
from agent.install.units import units
from agent.update.folder import UpdateFolder
from tests.beds.fixtures import MakeSystemd
from tests.journeys.containers import on
from tests.journeys.laptop import wait_until
from tests.update.bundles import PROFILE
from tests.update.world import DEVICE

pytestmark = [pytest.mark.bed, pytest.mark.timeout(600)]

FAILS = "open('/home/pi/edge/starts', 'a').write('x'); raise SystemExit(1)"
ANSWERS = "import os; os.unlink('/home/pi/edge/inbox/request')"


def test_a_request_is_answered_however_often_the_update_process_failed_before(
    systemd_boards: MakeSystemd,
) -> None:
    board = systemd_boards("fails")
    folder = UpdateFolder(Path("/home/pi/edge"))
    config = BoardConfig("kitchen-abcdef", DEVICE, "none", PROFILE, SERVICE_SYSTEMD_USER)
    on(board, "mkdir -p ~/edge/bin ~/edge/inbox ~/edge/state ~/.config/systemd/user")
    for name, text in units(folder, config, python="/usr/bin/python3", user=True).items():
        on(board, f"printf %s {shlex.quote(text)} > ~/.config/systemd/user/{name}")
    on(board, f"echo {shlex.quote(FAILS)} > {folder.launcher}; touch {folder.request}")
    on(
        board,
        "loginctl enable-linger; systemctl --user daemon-reload; systemctl --user start edge-update.path",
    )
    time.sleep(25)
    assert on(board, "systemctl --user is-active edge-update.path") == "active"
    assert 2 <= len(on(board, "cat ~/edge/starts")) <= 10, "again and again, with a pause"

    on(board, f"echo {shlex.quote(ANSWERS)} > {folder.launcher}")
    wait_until(lambda: on(board, f"test -e {folder.request} || echo gone") == "gone", "it is answered")
