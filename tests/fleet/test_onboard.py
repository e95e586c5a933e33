"""What is sent to boards: old Pythons can read it, and it needs nothing but Python."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.profile import BoardFacts, accepts
from edge.fleet import onboard
from edge.fleet.onboard import probe
from edge.profiles import load_profiles

SCRIPTS = sorted(path for path in Path(onboard.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_one_file_for_any_python_from_3_7_on(path: Path) -> None:
    tree = ast.parse(onboard.script(path.stem), feature_version=(3, 7))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported <= set(sys.stdlib_module_names)
    assert len(onboard.script(path.stem)) < 16_000


@pytest.mark.parametrize(
    ("machine", "bits", "expected"),
    [
        ("aarch64", 64, "aarch64"),
        ("aarch64", 32, "armv7l"),
        ("armv7l", 32, "armv7l"),
        ("x86_64", 64, "x86_64"),
        ("x86_64", 32, "i686"),
        ("arm64", 64, "aarch64"),
    ],
)
def test_the_architecture_is_the_userlands(machine: str, bits: int, expected: str) -> None:
    assert probe.architecture(bits, machine) == expected


def test_a_32_bit_board_is_refused_with_the_way_out() -> None:
    facts = BoardFacts(
        architecture=probe.architecture(32, "aarch64"),
        userland_bits=32,
        python="3.11",
        glibc="2.36",
        page_size_bytes=4096,
        memory_bytes=1 << 30,
        cores=4,
        disk_free_bytes=1 << 33,
        os="Raspbian GNU/Linux 12 (bookworm)",
        model="Raspberry Pi 3 Model B Plus Rev 1.3",
        serial="00000000a1b2c3d4",
    )
    (reason, *_) = accepts(load_profiles(None)["raspberry-pi-3b-plus"], facts)
    assert "32-bit (armv7l)" in reason.fact
    assert "64-bit" in reason.way_out


@pytest.mark.parametrize("text", ["", "0", "Default string", "0000000000000000", "To be filled by O.E.M."])
def test_a_serial_that_every_board_shows_is_none(text: str) -> None:
    assert probe.usable(text) == ""


def test_a_key_that_is_none_takes_no_line_of_the_authorized_keys_away(tmp_path: Path) -> None:
    lines = "ssh-ed25519 AAAAours kitchen\nssh-ed25519 AAAAtheirs somebody\n"
    keys = tmp_path / ".ssh/authorized_keys"
    keys.parent.mkdir()
    keys.write_text(lines)

    def withdraw(key: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", onboard.script("withdraw")],
            input=json.dumps({"key": key}).encode(), env={**os.environ, "HOME": str(tmp_path)}, capture_output=True,
        ).returncode  # fmt: skip

    assert withdraw("") != 0
    assert withdraw("ssh-ed25519") != 0
    assert keys.read_text() == lines
    assert withdraw("ssh-ed25519 AAAAours kitchen") == 0
    assert keys.read_text() == "ssh-ed25519 AAAAtheirs somebody\n"


CLEARS = """\
import sys
sys.addaudithook(lambda event, facts: print(facts[0]) if event == "os.chmod" else None)
"""


@pytest.mark.bed
@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root can be led nowhere")
def test_root_changes_no_modes_in_an_inbox_that_somebody_else_may_change(tmp_path: Path) -> None:
    root = tmp_path / "edge"
    (root / "inbox/blobs").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", CLEARS + onboard.script("clear").replace("from __future__ import annotations\n", "")],
        input=json.dumps({"root": str(root)}).encode(), capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [b'\x1e{"left": false}']
