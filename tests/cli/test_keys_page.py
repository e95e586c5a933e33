"""The commands of docs/keys.md are run as they stand there, one section after the other."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from edge.identity import KeyRing
from tests.cli.conftest import PASSPHRASE, Edge
from tests.cli.test_key import fleet, made_once
from tests.docs.test_commands import commands_of
from tests.house.tree import ROOT

__all__ = ["fleet", "made_once"]
PAGE = (ROOT / "docs/keys.md").read_text()
SECTIONS = {
    part.partition("\n")[0]: [line.strip() for line in re.findall(r"^ {4}edge .*$", part, re.MULTILINE)]
    for part in PAGE.split("\n## ")[1:]
}


@pytest.mark.parametrize("section", SECTIONS)
def test_what_the_page_says_is_done(
    edge: Edge, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    for variable in ("EDGE_KEY_PASSPHRASE", "EDGE_KEY_NEW_PASSPHRASE", "EDGE_BACKUP_PASSPHRASE"):
        monkeypatch.setenv(variable, PASSPHRASE)
    sticks = [tmp_path / name for name in ("first", "second")]
    for stick in sticks:
        stick.mkdir()
    toml = fleet / "edge.toml"
    folders = json.dumps([str(stick) for stick in sticks])
    toml.write_text(toml.read_text().replace("folders = []", f"folders = {folders}"))
    assert SECTIONS[section]
    for command in SECTIONS[section]:
        lost = KeyRing(fleet / "keys").public_key("targets").keyid[:8]
        if section == "A key is lost" and command == "edge key revoke targets 5f88c1c6":
            assert edge("key", "add", "targets", folder=fleet).code == 0
            command += " --yes"
        words = shlex.split(command.replace("/media", str(tmp_path)).replace("5f88c1c6", lost))[1:]
        ended = edge(*words, folder=fleet)
        assert ended.code == 0, ended


def test_every_command_of_a_section_is_run() -> None:
    written = {command for command in commands_of(PAGE) if command in PAGE.replace("`", "\0")}
    run = {command for commands in SECTIONS.values() for command in commands}
    assert run <= written
    assert sum(map(len, SECTIONS.values())) >= 15
