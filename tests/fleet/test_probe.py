from __future__ import annotations

import platform
import shutil
import sys
import time

import pytest

from agent.contract.errors import PlatformUnsupported
from agent.update.hardware import serials
from edge.fleet.probe import probe
from tests.beds.sshd import SshdBoard, SshdOptions
from tests.fleet.conftest import Open


def test_a_board_says_what_it_is(open_board: Open, bed: SshdBoard) -> None:
    facts = probe(open_board())
    assert facts.architecture == platform.machine()
    assert facts.userland_bits == 64
    assert facts.python.startswith("3.")
    assert facts.glibc == platform.libc_ver()[1]
    assert facts.cores >= 1
    assert facts.memory_bytes > 1 << 28
    assert facts.disk_free_bytes > 0
    assert abs(facts.clock - time.time()) < 5
    assert facts.user == bed.board.user
    assert not facts.simulated
    if bed.isolated:
        assert facts.home == "/home/pi"
        assert facts.serial == (bed.folder / "upper/etc/machine-id").read_text().strip()
    else:
        assert facts.serial in serials()


def test_a_board_without_python_is_told_so_and_what_helps(bed: SshdBoard, open_board: Open) -> None:
    if not bed.isolated:
        pytest.skip("without root the board's programs are this machine's")
    with SshdBoard("bare", SshdOptions(extra=("SetEnv PATH=/run/bed/few",))) as board:
        few = board.folder / "few"
        few.mkdir()
        for name in ("sh", "uname", "true"):
            (few / name).symlink_to(str(shutil.which(name)))
        with pytest.raises(PlatformUnsupported) as refused:
            probe(open_board(board.board))
    assert f"{platform.system()} {platform.machine()}" in str(refused.value)
    assert "it has no python3" in str(refused.value)
    assert "apt install python3" in str(refused.value.hint)


def test_the_laptops_own_python_is_not_what_the_board_has(open_board: Open) -> None:
    said = open_board().run(["python3", "-c", "import sys; print(sys.executable)"]).stdout.decode().strip()
    assert said != sys.executable
