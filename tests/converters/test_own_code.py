"""Code of the user's own is found where Python itself would find it, by a program that is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from converters.own_code import module_of


def test_a_module_is_found_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine/rows.py").write_text("def near():\n    return 'mine'\n")

    # With -P the current folder is not on Python's path, as in an installed `edge`.
    ask = "from converters.own_code import module_of; print(module_of('package_of_mine.rows').near())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("mine\n", "")


def test_a_file_never_stands_for_a_module_of_pythons(tmp_path: Path) -> None:
    file = tmp_path / "json.py"
    file.write_text("mine = True\n")

    assert module_of(str(file)).mine
    assert sys.modules["json"] is json
