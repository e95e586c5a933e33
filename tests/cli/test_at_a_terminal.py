"""What a person sees: at a terminal of any width, with and without colours, and where something is asked."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edge.cli.output import bar_text
from edge.config import FleetFolder
from tests.cli.conftest import PASSPHRASE
from tests.cli.terminal import at_terminal

EDGE = str(Path(sys.executable).with_name("edge"))
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TRANSFER = """
import sys, time
from edge.cli.output import Steps, line
steps = Steps(quiet=len(sys.argv) > 1)
for done in range(1, 10):
    steps.transfer("the runtime", done * 3_440_000, 34_400_000)
    time.sleep(0.11)
line("note", "by the way")
steps.transfer("the runtime", 20_000_000, 34_400_000)
steps.transfer("the runtime", 34_400_000, 34_400_000)
steps.step("the runtime was pushed to a board whose name is long enough that this line has to go on below itself")
"""


@pytest.mark.parametrize("width", [20, 40, 60, 79, 200])
@pytest.mark.parametrize("done", [0, 1, 500_000_000, 10**9])
def test_a_bar_is_never_wider_than_the_terminal(width: int, done: int) -> None:
    assert len(bar_text("the runtime", done, 10**9, width)) <= width


def test_a_bar_says_how_far_it_is() -> None:
    text = bar_text("the runtime", 12_900_000, 34_400_000, 79)
    assert text.startswith("  the runtime  ━")
    assert text.endswith(" 38%  12.9 MB of 34.4 MB")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_transfer_on_a_terminal(columns: int, tmp_path: Path) -> None:
    code, said = at_terminal([sys.executable, "-c", TRANSFER], columns=columns, cwd=tmp_path, NO_COLOR="1")
    assert code == 0
    assert "of 34.4 MB" in said
    for line in said.replace("\r\n", "\n").split("\n"):
        assert all(len(part) <= columns for part in line.split("\r"))
    seen = [line.split("\r")[-1] for line in said.replace("\r\n", "\n").split("\n")]
    assert seen[0] == "· by the way"
    assert seen[1].startswith("✓ the runtime was pushed")
    assert seen[2].startswith("  ")
    assert COLOUR.search(said) is None


def test_a_quiet_command_draws_nothing(tmp_path: Path) -> None:
    _, said = at_terminal([sys.executable, "-c", TRANSFER, "quiet"], cwd=tmp_path, NO_COLOR="1")
    assert said.split() == ["·", "by", "the", "way"]


def test_colours_can_be_switched_off(tmp_path: Path) -> None:
    command = [EDGE, "profile", "show", "nothing-like-it"]
    _, said = at_terminal(command, cwd=tmp_path)
    assert COLOUR.search(said)
    for off in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        _, said = at_terminal(command, cwd=tmp_path, **off)
        assert COLOUR.search(said) is None


def test_a_table_that_is_too_wide_becomes_names_and_values(tmp_path: Path) -> None:
    command = [EDGE, "profile", "list"]
    _, wide = at_terminal(command, columns=220, cwd=tmp_path, NO_COLOR="1")
    assert wide.split("\r\n")[0].split() == ["profile", "architecture", "engine", "memory", "board"]
    _, narrow = at_terminal(command, columns=60, cwd=tmp_path, NO_COLOR="1")
    lines = narrow.split("\r\n")
    assert max(len(line) for line in lines) <= 60
    assert lines[0].split()[0] == "profile"
    assert lines[1].split()[0] == "architecture"


def test_a_passphrase_is_chosen_twice_and_never_shown(tmp_path: Path) -> None:
    code, said = at_terminal(
        [EDGE, "init", "f", "--name", "kitchen"],
        typed=[("fleet's keys:", f"{PASSPHRASE}\n"), ("epeat", f"{PASSPHRASE}\n")],
        cwd=tmp_path,
    )
    assert code == 0
    assert PASSPHRASE not in said
    assert PASSPHRASE not in "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    )


def test_ctrl_d_at_a_question_is_an_interruption(tmp_path: Path) -> None:
    code, said = at_terminal([EDGE, "init", "f"], typed=[("fleet's keys:", "\x04")], cwd=tmp_path)
    assert (code, "interrupted" in said) == (130, True)
    assert list(tmp_path.iterdir()) == []


def test_a_no_changes_nothing(fleet: FleetFolder, tmp_path: Path) -> None:
    import shutil

    from edge.inventory import Device, Inventory, new_device_id

    folder = FleetFolder.open(Path(shutil.copytree(fleet.path, tmp_path / "f")))
    Inventory(folder).add(
        Device(
            name="pi", device_id=new_device_id(), host="pi.invalid", user="pi", host_key="ssh-ed25519 AAAA",
            fingerprint="SHA256:abc",
        )
    )  # fmt: skip
    code, said = at_terminal(
        [EDGE, "device", "remove", "pi"], typed=[("Forget `pi`?", "n\n")], cwd=folder.path
    )
    assert (code, "nothing was changed" in said) == (1, True)
    assert Inventory(folder).names() == ("pi",)


def test_headings_are_bold_at_a_terminal(tmp_path: Path) -> None:
    code, said = at_terminal([EDGE, "profile", "list"], columns=200, cwd=tmp_path)
    assert (code, "\x1b[1mprofile" in said) == (0, True), said
