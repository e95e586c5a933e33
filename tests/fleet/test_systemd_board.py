"""A board with systemd and a sudo that asks: what an installation meets there. The whole flash is tested elsewhere."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from agent.contract.errors import BoardNotFlashed, SudoRefused, TransferError
from edge.fleet.checkup import checkup
from edge.fleet.install import choose_placement, stage
from edge.fleet.probe import probe
from edge.fleet.services import logs, remove
from edge.fleet.status import read_status
from edge.fleet.upload import blob, upload
from tests.beds.systemd_container import SystemdContainer
from tests.fleet.conftest import Open

pytestmark = [pytest.mark.bed, pytest.mark.timeout(600)]


def test_the_inbox_is_staged_by_sudo_with_the_password_once(systemd_boards, open_board: Open) -> None:
    container: SystemdContainer = systemd_boards("staging")
    board = open_board(container.board, sudo_password=container.board.password)
    facts = probe(board)
    assert (facts.systemd, facts.sudo, facts.user, facts.lingering) == (True, "password", "pi", False)
    assert facts.serial == (container.root / "etc/machine-id").read_text().strip()
    placement = choose_placement(facts)
    with pytest.raises(SudoRefused, match="the password is wrong"):
        stage(open_board(container.board, sudo_password="wrong"), placement)
    assert board.run(["test", "-e", "/opt/edge"]).status == 1
    stage(board, placement)
    said = board.run(["stat", "-c", "%U %a", "/opt/edge", "/opt/edge/inbox"]).stdout.decode().splitlines()
    assert said == ["root 755", "pi 755"]
    with pytest.raises(BoardNotFlashed):
        logs(board, placement, lines=5, on_line=print)
    checks = {check.name: check.verdict for check in checkup(board, facts, read_status(board, "/opt/edge"))}
    assert (checks["clock"], checks["forwarding"], checks["agent"]) == ("good", "good", "note")
    remove(board, placement, wipe=True)
    assert board.run(["test", "-e", "/opt/edge"]).status == 1


def test_a_power_cut_in_an_upload_leaves_a_board_that_the_next_one_goes_on_with(
    systemd_boards, open_board: Open, tmp_path: Path
) -> None:
    container: SystemdContainer = systemd_boards("cut")
    board = open_board(container.board, stall_s=3.0)
    placement = choose_placement(probe(board), user_install=True)
    stage(board, placement)
    data = os.urandom(60_000_000)
    (tmp_path / "layer").write_bytes(data)
    item = blob(hashlib.sha256(data).hexdigest(), tmp_path / "layer")
    cut = threading.Timer(0.3, container.power_cut)
    cut.start()
    with pytest.raises(TransferError):
        upload(board, placement.root, [item], what="it")
    cut.join()
    container.boot()
    sent = upload(open_board(container.board), placement.root, [item], what="it")
    assert sent.resumed_bytes > 0
    assert sent.sent_bytes + sent.resumed_bytes == len(data)
