"""Passphrases and passwords: where they come from, and that nobody is asked who can't answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.errors import OptionInvalid, PassphraseMissing
from edge.cli.passphrase import asker
from edge.cli.password import ask_sudo_password, read_password
from edge.config import FleetFolder
from tests.cli.conftest import PASSPHRASE, Edge
from tests.repository.fleet import make_bundle


def test_without_a_terminal_nothing_is_asked(edge: Edge, fleet: FleetFolder, tmp_path: Path) -> None:
    ended = edge("init", tmp_path / "f")
    assert (ended.code, "[key.passphrase-missing]" in ended.err) == (1, True)
    assert list(tmp_path.iterdir()) == []
    bundle = make_bundle(tmp_path / "bundle")
    ended = edge("publish", "digits", bundle.folder, folder=fleet.path)
    assert (ended.code, "EDGE_KEY_PASSPHRASE" in ended.err) == (1, True)


def test_an_empty_passphrase_is_none(edge: Edge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", "")
    assert edge("init", tmp_path / "f").code == 1


def test_a_wrong_passphrase_is_said_and_not_shown(
    edge: Edge, fleet: FleetFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", "hunter2")
    bundle = make_bundle(tmp_path / "bundle")
    ended = edge("publish", "digits", bundle.folder, "--json", folder=fleet.path)
    assert (ended.code, ended.json["error"]["code"]) == (1, "key.passphrase-wrong")
    assert "hunter2" not in ended.out + ended.err


def test_a_passphrase_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_KEY_PASSPHRASE", PASSPHRASE)
    ask = asker()
    assert ask("root") == PASSPHRASE
    monkeypatch.delenv("EDGE_KEY_PASSPHRASE")
    assert ask("targets") == PASSPHRASE
    with pytest.raises(PassphraseMissing):
        asker()("targets")


@pytest.mark.parametrize(
    ("ask", "variable"), [(ask_sudo_password, "EDGE_SUDO_PASSWORD"), (read_password, "EDGE_LOGIN_PASSWORD")]
)
def test_passwords_of_boards(monkeypatch: pytest.MonkeyPatch, ask, variable: str) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(OptionInvalid, match=variable):
        ask("pi")
    monkeypatch.setenv(variable, "hunter2")
    assert ask("pi") == "hunter2"


def test_a_fleet_name_is_looked_at_before_a_passphrase_is_asked_for(edge: Edge, tmp_path: Path) -> None:
    ended = edge("init", tmp_path / "f", "--name", "No Name")
    assert (ended.code, "[name.invalid]" in ended.err) == (2, True)


def test_no_child_is_born_with_a_secret() -> None:
    child = "import os; print(sorted(os.environ))"
    script = (
        "import subprocess, sys\n"
        "from edge.cli import main\n"
        f"main.run = lambda _: subprocess.run([sys.executable, '-c', {child!r}]).returncode\n"
        "main.main()\n"
    )
    secrets = dict.fromkeys(("EDGE_KEY_PASSPHRASE", "EDGE_SUDO_PASSWORD", "EDGE_LOGIN_PASSWORD"), "hunter2")

    born = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | secrets, capture_output=True, text=True
    )

    assert (born.returncode, "PATH" in born.stdout) == (0, True)
    assert not [name for name in secrets if name in born.stdout]
