"""Conversion time and peak memory by stage: `python -m benchmarks.conversion MODEL CALIBRATION EVALUATION [RECIPE…]`.

One child process makes all artifacts, as for `edge convert --for … --for …`. Each RECIPE is FORMAT:NAME, like
`tflite:int8`; without any, all four of a Keras model. Prints a Markdown table.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from agent.contract.manifest import ModelFormat
from converters.calibration.source import DataSource, locate
from converters.convert import convert
from converters.job import ConversionJob, Target
from converters.recipe import built_in
from converters.source import recognise

RECIPES = ("tflite:fp32", "tflite:int8", "onnx:fp32", "onnx:int8")


def source(data: Path) -> DataSource:
    """Where data are."""
    location, kind = locate(data)
    return DataSource(location=location, kind=kind)


def main(model: Path, calibration: Path, evaluation: Path, recipes: list[str]) -> None:
    """Convert once and print what each stage took."""
    targets = []
    for recipe in recipes or RECIPES:
        kind, name = recipe.split(":")
        targets.append(
            Target(recipe.replace(":", "-"), ModelFormat(kind), built_in()[name], "x86_64", answer_here=True)
        )
    with tempfile.TemporaryDirectory() as folder:
        job = ConversionJob(
            source=str(model),
            source_format=recognise(model),
            targets=tuple(targets),
            folder=folder,
            calibration=source(calibration),
            evaluation=source(evaluation),
        )
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        result = convert(job, log=Path(folder) / "log")
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        sizes = {key: (Path(folder) / made.file).stat().st_size for key, made in result.converted.items()}
    print(f"`{model.name}`: {seconds:.1f} s in all, {cpu_s:.1f} s of CPU\n")
    print("| stage | artifact | seconds | peak memory, MB |\n|---|---|---:|---:|")
    for stage in result.stages:
        print(f"| {stage.name} | {stage.target or ''} | {stage.seconds:.2f} | {stage.peak_memory_mb:.0f} |")
    print(f"\n{', '.join(f'{key}: {size:,} bytes' for key, size in sizes.items())}")
    for key, error in result.errors.items():
        print(f"{key}: {error}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4:])
