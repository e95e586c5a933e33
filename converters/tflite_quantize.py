"""A float `.tflite` quantized by AI Edge Quantizer, whatever made it.

The rule: a file in which nothing is of the width that the scheme names, or that grew, is refused and not given out
under its name. Ranges are found once for all schemes of a job.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.contract.errors import ExtraMissing, ModelUnsupported
from converters import tflite_file
from converters.calibration.data import Data
from converters.engines import tflite_engine
from converters.job import Target
from converters.models import Artifact, Staged
from converters.recipe import Scheme
from converters.repair.apply import repair_tflite
from converters.requirements import tflite_uses
from converters.settings import few_samples, tflite_settings
from converters.tflite_float import Unfit, as_float, with_whole_splits
from converters.tflite_plan import NoPlan, Plan
from converters.tflite_ranges import measured
from converters.tflite_stamp import stamp

_ranges: dict[tuple[Path, str], Any] = {}
"""Ranges by float file and calibration data. A child process does one job, so that this stays small."""


def quantize_file(
    given: Path, target: Target, calibration: Data | None, folder: Path, stage: Staged, *, source: Path
) -> Artifact:
    """Make a quantized `.tflite` in `folder` of a float one.

    Args:
        given: the float file; it stays where it is for the job's other targets.
        target: what is to be made.
        calibration: representative inputs, where the scheme needs them.
        folder: for the artifact.
        stage: measures.
        source: the model that the user gave, for the sentence of an error.

    Raises:
        ModelUnsupported: the tool refuses it, or the file would not be what the recipe's name says.
        ExtraMissing: AI Edge Quantizer is not installed.
    """
    scheme = target.recipe.scheme(target.format)
    if scheme.repairs and calibration is not None:
        given = repair_tflite(given, scheme, calibration, folder)
    quantizer = _Quantizer(given, target, scheme, source)
    used, ranges = calibration if scheme.calibrated else None, None
    if used is not None:
        with stage("find ranges", target.key):
            ranges = quantizer.ranges(used)
    with stage("quantize", target.key):
        data = stamp(quantizer.quantize(ranges))
    path = folder / f"{target.key}.tflite"
    path.write_bytes(data)
    described = tflite_file.read(path)
    quantizer.check_gain(path, described)
    return Artifact(
        path=path,
        inputs=described.inputs,
        outputs=described.outputs,
        uses=tflite_uses(described, path),
        settings={"converter": "ai-edge-quantizer", **tflite_settings(scheme, used)},
        notes=(*quantizer.notes, *few_samples(used)),
    )


class _Quantizer:
    """One scheme on one file."""

    def __init__(self, given: Path, target: Target, scheme: Scheme, source: Path) -> None:
        self.given, self.target, self.scheme, self.source = given, target, scheme, source
        with _quiet():
            try:
                from ai_edge_quantizer import quantizer
            except ImportError as error:
                raise ExtraMissing(package="ai-edge-quantizer", extra="tflite") from error
            self._content = self._as_float()
            self._tool = quantizer.Quantizer(self._content)
            plan = Plan(self._tool, given, scheme)
            try:
                plan.tell()
            except NoPlan as error:
                raise self._unsupported(error.reason, error.way_out) from error
            self.notes = plan.notes

    def _as_float(self) -> bytes:
        try:
            return as_float(self.given.read_bytes())
        except Unfit as error:
            way_out = "take it with `--recipe as-is`, or convert the float model it was made from"
            raise self._unsupported(str(error), way_out) from error

    def quantize(self, ranges: Any) -> bytes:
        """The quantized file's bytes."""
        with _quiet(), self._refusing():
            result = self._tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
            return with_whole_splits(bytes(result.quantized_model))

    def ranges(self, calibration: Data) -> Any:
        """Smallest and largest value of every tensor over the calibration data."""
        key = (self.given, calibration.sha256)
        if key not in _ranges:
            with _quiet(), self._refusing():
                _ranges[key] = measured(self._content, calibration)
        return _ranges[key]

    def check_gain(self, path: Path, described: tflite_file.TFLiteFile) -> None:
        """Raise ModelUnsupported where the file is not what its recipe's name says."""
        for width in {self.scheme.weights, self.scheme.fully_connected} - {"", "float32"}:
            if not any(width in operator.types for operator in described.operators):
                way_out = "take recipe int8 or int8-dynamic" if width == "int4" else "take recipe fp32"
                raise self._unsupported(f"no operator of it can be {width}", way_out)
        if self.scheme.granularity == "block" and not any(
            "int4/block" in operator.types for operator in described.operators
        ):
            raise self._unsupported(
                f"none of its layers can be split into blocks of {self.scheme.block}", "take recipe int4"
            )
        try:
            tflite_engine(path, may_start_tensorflow=False)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise self._unsupported(
                f"LiteRT does not load what AI Edge Quantizer made of it: {reason}",
                "take recipe int8 or int8-dynamic",
            ) from error
        before, after = self.given.stat().st_size, path.stat().st_size
        grew = f"the file grew from {before:,} to {after:,} bytes"
        if after >= before and not self.scheme.calibrated:
            raise self._unsupported(grew, "take recipe fp32 or int8")
        if after >= before:
            self.notes = (*self.notes, grew)

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """What the tool raises, as a sentence."""
        try:
            yield
        except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, IndexError) as error:
            reason = " ".join(str(error).split())[:300]
            if "Tensor data is null" in reason:
                raise self._unsupported(
                    "AI Edge Quantizer can't find the ranges inside of its loop (LSTM, GRU or the like)",
                    "give the Keras model itself (.keras or .h5), which edge unrolls, or take recipe int8-dynamic",
                ) from error
            raise self._unsupported(
                f"AI Edge Quantizer says: {reason}", "try recipe int8, int8-dynamic or fp32"
            ) from error

    def _unsupported(self, reason: str, way_out: str) -> ModelUnsupported:
        return ModelUnsupported(path=self.source, target=self.target.title, reason=reason, way_out=way_out)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool prints reports; they belong to the log."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
