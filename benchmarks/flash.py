"""How long a flash takes, step by step, and how many bytes it pushes.

`python -m benchmarks.flash [--rounds 3] [--kind onnx]`, from the repository's folder.
Each round takes a fresh simulated board in a temporary fleet folder and flashes it three times with the installed
`edge` command: the bare board, a second release, the second release again. Prints medians as a table in Markdown,
the least and the most in brackets. The runtime is composed once before, so that no download is counted.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.journeys.bundles import make_bundle
from tests.journeys.laptop import Laptop

MODELS = {"onnx": "digits.onnx", "tflite": "digits_int8.tflite"}
STEPS = ("connect", "probe", "runtime", "install", "push", "trial")
PROBATION_S = 3.0

Found = dict[str, list[float]]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=sorted(MODELS), default="onnx")
    options = parser.parse_args()
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as folder:
        laptop = Laptop(Path(folder) / "fleet", probation_s=str(PROBATION_S))
        publish_two(laptop, Path(folder), options.kind)
        try:
            for number in range(options.rounds + 1):
                kept = found if number else {}  # The first round composes the runtime.
                measure_board(laptop, f"sim-{number + 1}", options.kind, kept)
        finally:
            laptop.does("sim", "down", "--wipe")
    print_table(found, options.kind, options.rounds)


def publish_two(laptop: Laptop, work: Path, kind: str) -> None:
    """Releases `digits@1` and `digits@2`: the same behaviour, other bytes."""
    for number in (1, 2):
        bundle = make_bundle(
            work / f"bundle-{number}", profile=f"sim-{kind}", model=MODELS[kind], mark=str(number)
        )
        laptop.does("publish", "digits", str(bundle))


def measure_board(laptop: Laptop, name: str, kind: str, found: dict[str, Found]) -> None:
    """A fresh board, flashed three times, and taken away."""
    up = laptop.does("sim", "up", name.removeprefix("sim-"), "--kind", kind)
    address = re.search(rf"{name} .* (\S+@127\.0\.0\.1:\d+)", up.out + up.err)
    assert address is not None, up
    laptop.does("device", "add", address[1], "--name", name, "-y")
    for flash, release in (("bare board", 1), ("second release", 2), ("the same again", 2)):
        flash_once(laptop, name, f"digits@{release}", found.setdefault(flash, defaultdict(list)))
    laptop.does("device", "remove", name, "--wipe", "-y")


def flash_once(laptop: Laptop, name: str, release: str, found: Found) -> None:
    """One `edge flash --json`: seconds by step, bytes, and the laptop's CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = laptop.does("flash", name, release, "--json", seconds=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for step in STEPS:
        if step in ended.json["passed_s"]:
            found[f"{step}, s"].append(ended.json["passed_s"][step])
    found["whole command, s"].append(ended.passed_s)
    found["CPU on the laptop, s"].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    found["pushed, kB"].append(ended.json["pushed_bytes"] / 1000)


def print_table(found: dict[str, Found], kind: str, rounds: int) -> None:
    """One line a step, one column a flash."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"sim-{kind}, {rounds} boards, probation {PROBATION_S:.0f} s, {os.cpu_count()} cores, load {load}\n"
    )
    print(f"| | {' | '.join(found)} |")
    print("|---|" + "---|" * len(found))
    for row in next(iter(found.values())):
        print(f"| {row} | {' | '.join(cell(flash.get(row)) for flash in found.values())} |")


def cell(values: list[float] | None) -> str:
    """The median, and the range behind it."""
    if not values:
        return "–"
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


if __name__ == "__main__":
    main()
