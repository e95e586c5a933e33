"""The board's folder after a real flash with root: who owns, writes and reads what, file by file.

`docs/security.md` shows this table; a path that is not in it makes this test fail.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.attacks.test_local_user import WALK
from tests.beds.board import PASSWORD
from tests.beds.fixtures import MakeSystemd, beds_swept, systemd_boards
from tests.beds.systemd_container import SystemdContainer
from tests.journeys.conftest import MakeLaptop, new_laptop, publish_three
from tests.journeys.containers import added, flash, on

__all__ = ["beds_swept", "new_laptop", "systemd_boards"]
pytestmark = [pytest.mark.bed, pytest.mark.timeout(1200)]

LAYOUT = (
    # path below /opt/edge, owner:group, modes
    (r"\.", "root:root", "755"),
    (r"bin", "root:root", "755"),
    (r"bin/launch\.py", "root:root", "755"),
    (r"(board|root)\.json|bootstrap", "root:root", "644"),
    (r"install\.lock", "root:root", "600"),
    (r"mqtt\.key", "root:edge", "640"),
    (r"mqtt\.pub", "root:root", "644"),
    (r"current|trial", "root:root", "777"),  # links
    (r"objects|generations|generations/\d+", "root:root", "755"),
    (r"generations/\d+/generation\.json", "root:root", "444"),
    (r"objects/.*", "root:root", "444|555"),
    (r"state", "root:root", "711"),
    (r"state/(device\.key|update\.json|lock)", "root:root", "600"),
    (r"state/(device\.pub|reported\.json|resume)", "root:root", "644"),
    (r"state/tuf", "root:root", "700"),
    (r"state/tuf/.*", "root:root", "600|644|700|755|777"),  # one is a link
    (r"run", "edge:edge", "755"),
    (r"run/agent\.json", "edge:edge", "644"),
    (r"outbox", "edge:edge", "700"),
    (r"outbox/.*", "edge:edge", "600|644"),
    (r"inbox", "pi:pi", "700"),
    (r"inbox/.*", "pi:pi", "644|755"),
    (r"link", "pi:pi", "755"),
    (r"link/link\.json", "pi:pi", "644"),
)


def test_each_user_of_a_flashed_board_writes_what_is_his_and_reads_no_key_of_anothers(
    new_laptop: MakeLaptop, systemd_boards: MakeSystemd, tmp_path: Path
) -> None:
    laptop = new_laptop(bed=True)
    publish_three(laptop, tmp_path, profile="linux-x86-64", model="digits.onnx")
    board = systemd_boards("layout")
    added(laptop, board)
    flash(laptop, "digits@1", password=PASSWORD)
    listed = on(board, "cd /opt/edge && find . -printf '%p\\t%u:%g\\t%m\\n'", root=True)
    there = [line.removeprefix("./").split("\t") for line in listed.splitlines()]
    assert [entry for entry in there if not _fits(*entry)] == []
    assert {"state/device.key", "mqtt.key", "state/lock"} <= {path for path, _, _ in there}
    for user, allowed in (("nobody", set()), ("edge", {"run", "outbox"}), ("pi", {"inbox", "link"})):
        found = _walk(board, user)
        assert {name.partition("/")[0] for name in found["written"]} <= allowed, user
        assert found["locked"] == [], user
        keys = {"state/device.key"} if user == "edge" else {"state/device.key", "mqtt.key"}
        assert not keys & set(found["read"]), user


def _fits(path: str, owner: str, mode: str) -> bool:
    """Whether the first line of the table that names this path says so."""
    for pattern, owned_by, modes in LAYOUT:
        if re.fullmatch(pattern, path):
            return owner == owned_by and mode in modes.split("|")
    return False


def _walk(board: SystemdContainer, user: str) -> dict[str, list[str]]:
    """What a user can do there, by trying it."""
    script = f"runuser -u {user} -- python3 -I -c {shlex.quote(WALK)} /opt/edge"
    found: dict[str, list[str]] = json.loads(on(board, script, root=True))
    return found
