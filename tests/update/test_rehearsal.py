"""The rehearsal of a new runtime: who waits for it, and to whom it is given."""

from __future__ import annotations

import getpass
import signal
import subprocess
import sys
from pathlib import Path

from agent.update import rehearsal
from tests.update.world import wait_until


def test_a_supervisor_that_is_rehearsed_ends_with_an_update_process_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    supervisor = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    driver = [sys.executable, "-I", "-S", "-c", rehearsal._SUPERVISED, str(tmp_path / "never")]
    with subprocess.Popen([*driver, sys.executable, "-c", supervisor]) as process:
        wait_until(lambda: told.exists() and told.read_text() != "", "it runs")
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(int(told.read_text())), "it has ended")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nobody_comes_into_the_folder_of_a_rehearsal_while_it_is_given_away(tmp_path: Path) -> None:
    (tmp_path / "found/bin").mkdir(parents=True)
    (tmp_path / "found/bin/launch.py").touch()
    (tmp_path / "found/link").symlink_to("/etc")
    said = subprocess.run(
        [sys.executable, "-c", GIVES, str(tmp_path), getpass.getuser()], capture_output=True, text=True, check=True
    )  # fmt: skip
    given = said.stdout.splitlines()
    assert given[-1] == str(tmp_path), "the outermost folder is given last"
    assert len(given) == 4


GIVES = """\
import sys
from pathlib import Path
from agent.update.rehearsal import _give
sys.addaudithook(lambda event, facts: print(facts[0]) if event == "shutil.chown" else None)
_give(Path(sys.argv[1]), sys.argv[2])
"""
