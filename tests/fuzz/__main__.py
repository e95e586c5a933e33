"""Fuzz every parser of the agent, and say how many inputs each took.

    python -m tests.fuzz --inputs 1000000 [--parser NAME ...] [--seed N] [--unguided]

Guided by coverage (atheris), which is installed into `build/fuzz` when it is first needed. Where there is no wheel of
it for this machine, or with `--unguided`, the inputs are mutations of seeds. The exit code is 1 after a finding, whose
input is kept and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "fuzz"
ATHERIS = "atheris>=3.0,<4"
WEIGHTS = {
    "http": 30, "v1": 12, "v2": 12, "v2-binary": 12, "paths": 8, "mqtt": 10,
    "images": 6, "encodings": 5, "documents": 5,
}  # fmt: skip
"""Parts of a hundred."""
DONE = re.compile(r"stat::number_of_executed_units: (\d+)")
PEAK = re.compile(r"stat::peak_rss_mb: +(\d+)")
WORKERS = 2


def main(arguments: list[str]) -> int:
    """Run the lane."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the agent's parsers.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all parsers together")
    parser.add_argument("--parser", action="append", choices=sorted(WEIGHTS), help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unguided", action="store_true", help="without atheris")
    options = parser.parse_args(arguments)
    names = options.parser or list(WEIGHTS)
    whole = sum(WEIGHTS[name] for name in names)
    shares = {name: -(-options.inputs * WEIGHTS[name] // whole) for name in names}
    guided = not options.unguided and has_atheris()
    print(
        f"{options.inputs} inputs, " + ("guided by coverage" if guided else "mutations of seeds"), flush=True
    )
    PLACE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=PLACE))
    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        how = "guided" if guided else "unguided"
        ended = list(pool.map(lambda name: _run(name, shares[name], folder / name, options.seed, how), names))
    found = [text for _, text in ended if text]
    print(
        f"{sum(count for count, _ in ended)} inputs in {time.monotonic() - began:.0f} s, {len(found)} findings"
    )
    for text in found:
        print(text)
    if not found:
        shutil.rmtree(folder)
    return 1 if found else 0


def has_atheris() -> bool:
    """Whether atheris is there, once it was tried to install it."""
    if not (PLACE / "atheris-packages").is_dir() and importlib.util.find_spec("atheris") is None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--only-binary=:all:", "--target", str(PLACE / "atheris-packages"), ATHERIS]
        if subprocess.run(command, capture_output=True).returncode:
            shutil.rmtree(PLACE / "atheris-packages", ignore_errors=True)
            return False
    return True


def _run(name: str, inputs: int, folder: Path, seed: int, how: str) -> tuple[int, str]:
    """How many inputs were tried, and what was found."""
    paths = [str(ROOT), str(PLACE / "atheris-packages"), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(folder), str(inputs), str(seed), how]
    began = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
    )
    count, peak = DONE.search(done.stderr), PEAK.search(done.stderr)
    tried = int(count[1]) if count else 0
    memory = f", {peak[1]} MB at most" if peak else ""
    _say(name, tried, began, memory)
    if done.returncode == 0 and tried >= inputs:
        return tried, ""
    return tried, f"{name}: ended with {done.returncode}; inputs are in {folder}\n{done.stderr[-3000:]}"


def _say(name: str, tried: int, began: float, more: str = "") -> None:
    print(f"{name:10} {tried:>9} inputs {time.monotonic() - began:7.1f} s{more}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
