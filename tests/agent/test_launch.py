"""The launcher: which runtime it picks, and that nothing but it is on the path."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.boards import ROOT

WORDS = """
import sys
def main(arguments):
    print({name!r}, *arguments)
    for path in sys.path: print(path)
    return 7
"""


class Folder:
    """A board's folder with runtimes that only tell that they were started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir(parents=True)
        (root / "bin" / "launch.py").write_bytes((ROOT / "agent" / "launch.py").read_bytes())

    def runtime(self, letter: str) -> str:
        layers = [letter * 63 + "1", letter * 63 + "2"]
        for layer in layers:
            (self.root / "objects" / layer).mkdir(parents=True)
        agent = self.root / "objects" / layers[0] / "agent"
        agent.mkdir()
        (agent / "__main__.py").write_text(WORDS.format(name=letter))
        manifest = self.root / "objects" / (letter * 64) / "manifest.json"
        manifest.parent.mkdir()
        manifest.write_text(json.dumps({"layers": [{"sha256": layer} for layer in layers]}))
        return letter * 64

    def generation(self, number: int, runtime: str, link: str | None = None) -> None:
        folder = self.root / "generations" / str(number)
        folder.mkdir(parents=True)
        (folder / "generation.json").write_text(json.dumps({"runtime": runtime}))
        if link is not None:
            (self.root / link).symlink_to(f"generations/{number}")

    def launch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", self.root / "bin" / "launch.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd="/")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "board")
    (made.root / "bootstrap").write_text(made.runtime("a") + "\n")
    return made


def test_the_runtime_by_the_links(folder: Folder) -> None:
    root = str(folder.root)
    bare = folder.launch("run")
    folder.generation(1, folder.runtime("b"), "current")
    current = folder.launch("run", "x")
    folder.generation(2, folder.runtime("c"), "trial")
    trial, apply = folder.launch("run"), folder.launch("apply")
    named = folder.launch("--generation", "1", "selftest"), folder.launch("--runtime", "a" * 64, "run")

    def first(ran: subprocess.CompletedProcess[str]) -> str:
        assert ran.returncode == 7, ran.stderr
        return ran.stdout.splitlines()[0]

    assert first(bare) == f"a --root {root} run"
    assert first(current) == f"b --root {root} --generation 1 run x"
    assert first(trial) == f"c --root {root} --generation 2 run"
    assert first(apply) == f"b --root {root} apply"
    assert first(named[0]) == f"b --root {root} --generation 1 selftest"
    assert first(named[1]) == f"a --root {root} run"


def test_only_the_layers_and_the_standard_library_are_on_the_path(folder: Folder) -> None:
    paths = folder.launch("status").stdout.splitlines()[1:]
    objects = folder.root / "objects"

    assert paths[:2] == [str(objects / ("a" * 63 + "1")), str(objects / ("a" * 63 + "2"))]
    assert [path for path in paths if "site-packages" in path or "dist-packages" in path] == []
    assert len(paths) >= 4


def test_another_root(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other")
    (other.root / "bootstrap").write_text(other.runtime("d"))

    ran = folder.launch("--root", str(other.root), "status")

    assert ran.stdout.splitlines()[0] == f"d --root {other.root} status"


def test_the_update_process_starts_where_current_is_damaged(folder: Folder) -> None:
    folder.generation(1, "e" * 64, "current")
    (folder.root / "generations" / "1" / "generation.json").write_text("{")

    assert folder.launch("recover").stdout.startswith("a ")
    assert folder.launch("run").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "a command is missing"),
        (["--root"], 2, "--root needs a value"),
        (["--generation", "x", "run"], 2, "--generation must be a number"),
        (["--runtime", "x", "run"], 2, "--runtime must be 64 hexadecimal digits"),
        (["--runtime", "a" * 64, "--generation", "1", "run"], 2, "exclude each other"),
        (["--generation", "9", "run"], 1, "can't be read"),
        (["--runtime", "9" * 64, "run"], 1, "can't be read"),
        (["--root", "/nowhere", "run"], 1, "no runtime to start"),
    ],
)
def test_what_can_not_be_started_is_said(
    folder: Folder, arguments: list[str], status: int, words: str
) -> None:
    ran = folder.launch(*arguments)

    assert ran.returncode == status
    assert ran.stderr.startswith("error: ")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_runtime_with_a_layer_missing_is_said(folder: Folder) -> None:
    (folder.root / "objects" / ("a" * 63 + "2")).rmdir()

    assert "is not whole" in folder.launch("run").stderr


def test_a_link_out_of_the_generations_is_refused(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder.root / "current").symlink_to(tmp_path / "elsewhere")

    assert "leads to no generation" in folder.launch("run").stderr
