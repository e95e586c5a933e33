"""The agent's wheel alone, in an empty environment: what a board has before anything else is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.house.tree import ROOT, shown, tracked_files

IMPORT_ALL = """
import sys
before = set(sys.modules)
import importlib, importlib.util, json, pkgutil
import agent, agent.contract
names = [module.name for module in pkgutil.walk_packages(agent.contract.__path__, "agent.contract.")]
if importlib.util.find_spec("agent.launch"):
    names.append("agent.launch")
for name in names:
    importlib.import_module(name)
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"imported": names, "foreign": sorted(loaded - set(sys.stdlib_module_names) - {"agent"})}))
"""


def pythons() -> list[str]:
    """This Python, and the others of the agent's range that this machine has."""
    found = [sys.executable]
    for minor in (10, 11, 12, 13):
        path = shutil.which(f"python3.{minor}")
        if minor != sys.version_info.minor and path:
            works = subprocess.run([path, "-c", "import venv"], capture_output=True).returncode == 0
            found += [path] * works
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT / "agent"]
    built = subprocess.run(build, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_ships_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {shown(file) for file in tracked_files() if shown(file).startswith("agent/")}
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == ours - {"agent/pyproject.toml", "agent/README.md"}
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_needs_nothing(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = BytesParser().parsebytes(archive.read(name))
    assert [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need] == []
    assert metadata["Requires-Python"] == ">=3.10"


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
def test_imports_in_an_empty_environment(python: str, wheel: Path, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    inside = tmp_path / "empty" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        inside,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, wheel], check=True, cwd=tmp_path)

    ran = subprocess.run([inside, "-I", "-c", IMPORT_ALL], cwd=tmp_path, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["foreign"] == []
    assert "agent.contract.errors" in result["imported"]
    assert ("agent.launch" in result["imported"]) == (ROOT / "agent" / "launch.py").exists()
