"""Measure what the runtimes run: `python -m benchmarks.capabilities [tflite] [onnx]`.

It takes ten minutes on a quiet machine, needs Python 3.9 and 3.11, the package index that this machine's pip is set
up with, and about 2 GB below the temporary folder, which are given back. What is not asked for keeps its table.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.capabilities import onnx_table, tflite_table
from benchmarks.capabilities.agreement import disagreements

FOLDER = Path(__file__).resolve().parents[2] / "converters" / "capability"
PARTS = {"tflite": tflite_table.measure, "onnx": onnx_table.measure}
WRITERS = {"tflite": ("tensorflow-cpu", "keras", "ai-edge-quantizer"), "onnx": ("onnx",)}


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    for part in parser.parse_args().parts or PARTS:
        began = time.monotonic()

        def tell(text: str, began: float = began) -> None:
            print(f"{time.monotonic() - began:7.0f} s  {text}", file=sys.stderr, flush=True)

        with tempfile.TemporaryDirectory(prefix="edge-capabilities-") as folder:
            lines, networks = PARTS[part](Path(folder), tell)
            text = "\n".join([*_head(part), *lines]) + "\n"
            (FOLDER / f"{part}.toml").write_text(text, encoding="utf-8")
            tell(f"wrote {part}.toml")
            for line in (line for each in networks for line in disagreements(text, each)):
                tell(line)


def _head(part: str) -> list[str]:
    today = datetime.datetime.now(datetime.UTC).date()
    writers = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in WRITERS[part])
    return [
        "# Made by `python -m benchmarks.capabilities`: what each engine version was seen to run.",
        f"date = {today}",
        f'written_by = "{writers}"',
    ]


if __name__ == "__main__":
    main()
