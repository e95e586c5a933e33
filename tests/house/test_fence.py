"""The import fence bites: each violation, planted alone in a copy of the tree, is reported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}


@dataclass(frozen=True)
class Planted:
    module: str
    line: str
    contract: str
    within_function: bool = False

    def __str__(self) -> str:
        where = "in a function of " if self.within_function else ""
        return f"{where}{self.module}: {self.line}"


PLANTED = [
    Planted("edge.fleet", "import edge.rollouts", "ladder"),
    Planted("edge.telemetry", "import edge.fleet", "ladder"),
    Planted("edge.fleet", "import edge.telemetry", "ladder"),
    Planted("edge.fleet", "import edge.cli", "ladder", within_function=True),
    Planted("edge.config", "import edge.repository", "ladder"),
    Planted("edge.runtimes", "from edge import conversion", "ladder"),
    Planted("converters", "import edge.bundle", "ladder", within_function=True),
    Planted("edge.rollouts", "import agent.update", "host"),
    Planted("edge.rollouts", "from agent import engines", "host", within_function=True),
    Planted("converters", "import agent.engines", "host"),
    Planted("agent.serving", "import edge.fleet", "board", within_function=True),
    Planted("agent.transforms", "import converters", "board"),
    Planted("agent.config", "import click", "board"),
    Planted("agent.models", "import rich.console", "board", within_function=True),
    Planted("agent.models", "import agent.app", "agent"),
    Planted("agent.serving", "import agent.update", "agent"),
    Planted("agent.contract", "import agent.system", "contract"),
    Planted("agent.contract", "import numpy", "contract"),
    Planted("agent.contract", "import orjson", "contract", within_function=True),
    Planted("agent.app", "import paho.mqtt.client", "mqtt"),
    Planted("edge.telemetry", "import paho.mqtt.client", "session"),
    Planted("agent.measure", "import onnxruntime", "engines", within_function=True),
    Planted("agent.models", "import ai_edge_litert.interpreter", "engines"),
    Planted("agent.serving", "import PIL.Image", "pictures", within_function=True),
    Planted("agent.app", "import tuf.ngclient", "trust"),
    Planted("agent.serving", "from cryptography.hazmat import primitives", "trust", within_function=True),
]
CYCLE = {
    "converters.planted_one": "import converters.planted_two",
    "converters.planted_two": "import converters.planted_one",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--verbose"],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "300"},
        capture_output=True,
        text=True,
    )


class Plot:
    """Modules of a copy that are changed or made, and afterwards as they were."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: dict[Path, str | None] = {}

    def plant(self, module: str, text: str) -> None:
        file = self._file(module)
        self._before.setdefault(file, file.read_text() if file.exists() else None)
        file.write_text((self._before[file] or "") + text)

    def exists(self, module: str) -> bool:
        return self._file(module).exists()

    def restore(self) -> None:
        for file, text in self._before.items():
            file.unlink() if text is None else file.write_text(text)
        self._before.clear()

    def _file(self, module: str) -> Path:
        path = self.folder.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.fixture
def plot(copy: Path):
    plot = Plot(copy)
    yield plot
    plot.restore()


def test_the_tree_is_clean() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_reports(planted: Planted, plot: Plot) -> None:
    for module in imported_modules(planted.line):
        if module.split(".")[0] in PACKAGES and not plot.exists(module):
            plot.plant(module, '"""Planted."""\n')
    text = f"def late() -> None:\n    {planted.line}\n" if planted.within_function else f"{planted.line}\n"
    plot.plant(planted.module, f"\n\n{text}")

    result = lint(plot.folder)

    assert result.returncode == 1, result.stdout
    assert f"{CONTRACTS[planted.contract]} BROKEN" in result.stdout, result.stdout
    assert planted.module in result.stdout.partition("Broken contracts")[2], result.stdout


def test_reports_a_cycle(plot: Plot) -> None:
    for module, line in CYCLE.items():
        plot.plant(module, f"{line}\n")
    result = lint(plot.folder)
    assert result.returncode == 1
    assert f"{CONTRACTS['cycles']} BROKEN" in result.stdout, result.stdout


def test_reports_a_new_part_of_the_agent_that_no_layer_names(plot: Plot) -> None:
    plot.plant("agent.planted", '"""Planted."""\n')
    result = lint(plot.folder)
    assert result.returncode == 1
    assert f"{CONTRACTS['agent']} BROKEN" in result.stdout, result.stdout


def test_every_part_of_the_host_stands_on_the_ladder() -> None:
    ladder = next(
        contract["layers"]
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
            "contracts"
        ]
        if contract["id"] == "ladder"
    )
    named = {name.strip(" ()") for layer in ladder for name in layer.replace("|", ":").split(":")}
    parts = {
        f"edge.{path.stem}"
        for path in (ROOT / "edge").iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    assert parts - {"edge.__init__", "edge.__main__"} <= named


def test_heavy_libraries_are_imported_inside_functions_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("import tensorflow\n")
    inside = tmp_path / "inside.py"
    inside.write_text("def late():\n    import tensorflow\n")
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--no-cache", "--select", "TID253"]
    configured = [*ruff, "--config", ROOT / "pyproject.toml"]
    reported = subprocess.run([*configured, outside], capture_output=True, text=True)
    assert reported.returncode == 1
    assert "TID253" in reported.stdout
    assert subprocess.run([*configured, inside], capture_output=True).returncode == 0
    assert subprocess.run([*configured, *PACKAGES], cwd=ROOT, capture_output=True).returncode == 0


def imported_modules(line: str) -> list[str]:
    """The modules that an import statement of `PLANTED` names, and each package on the way."""
    words = line.split()
    name = f"{words[1]}.{words[3]}" if words[0] == "from" else words[1]
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(1, len(parts))]
