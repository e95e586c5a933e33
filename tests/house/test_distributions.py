"""Two distributions from one tree, of one version."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.house.tree import ROOT

HOST = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
AGENT = tomllib.loads((ROOT / "agent" / "pyproject.toml").read_text())["project"]


def test_host_and_agent_carry_the_same_version() -> None:
    assert HOST["version"] == AGENT["version"]
    assert f"{AGENT['name']}=={AGENT['version']}" in HOST["dependencies"]


def test_the_changelog_says_what_happens_on_devices() -> None:
    releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert releases
    assert [release.splitlines()[0] for release in releases if "### On devices" not in release] == []


def test_the_host_wheel_holds_its_packages_and_the_profiles(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    built = subprocess.run(build, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    profiles = {f"device_profiles/{file.name}" for file in (ROOT / "device_profiles").glob("*.toml")}
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"edge", "converters"} | ({"device_profiles"} if profiles else set())
    assert profiles <= set(names)
    assert {"edge/py.typed", "converters/py.typed"} <= set(names)
    assert {f"converters/capability/{kind}.toml" for kind in ("onnx", "tflite")} <= set(names)


def test_pins_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pin = re.compile(r"[a-z0-9-]+==[0-9a-z.+!]+( ; [\w .<>=!'()]+)?")
    assert [line for line in lines if not line.startswith("# Versions") and not pin.fullmatch(line)] == []
