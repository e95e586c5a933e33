"""A float `.tflite` quantized by AI Edge Quantizer, whatever made it.

The rule: what an operator can't be in the width that the scheme names, it is in int8; a file in which nothing is of
that width, or that grew, is refused and not given out under its name. Ranges are the smallest and largest values that
the calibration data showed (the tool's own default is a moving average), found once for all schemes of a job.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import ExtraMissing, ModelUnsupported
from converters import tflite_file
from converters.calibration.data import Data, evenly
from converters.engines import tflite_engine
from converters.job import MOST_CALIBRATION_SAMPLES, Target
from converters.models import Artifact, Staged
from converters.recipe import Scheme
from converters.repair.apply import repair_tflite
from converters.requirements import tflite_uses
from converters.settings import few_samples, tflite_settings
from converters.tflite_float import Unfit, as_float, with_dead_ends
from converters.tflite_stamp import stamp

EVERYTHING = ".*"
BITS = {"int4": 4, "int8": 8, "int16": 16, "float16": 16}
INT4_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "EMBEDDING_LOOKUP")
"""What the runtime has in int4; with calibrated activations it has no EMBEDDING_LOOKUP, in blocks no CONV_2D."""
INT4_CALIBRATED = ("CONV_2D", "FULLY_CONNECTED")
INT4_IN_BLOCKS = ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")
THREADS = 2

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
        given = repair_tflite(given, scheme, calibration)
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
        self.notes: tuple[str, ...] = ()
        with _quiet():
            try:
                from ai_edge_quantizer import quantizer
            except ImportError as error:
                raise ExtraMissing(package="ai-edge-quantizer", extra="tflite") from error
            self._content = self._as_float()
            self._tool = quantizer.Quantizer(self._content)
            self._plan()

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
            return bytes(result.quantized_model)

    def ranges(self, calibration: Data) -> Any:
        """Smallest and largest value of every tensor over the calibration data."""
        key = (self.given, calibration.sha256)
        if key not in _ranges:
            with _quiet(), self._refusing():
                _ranges[key] = self._measure(calibration)
        return _ranges[key]

    def check_gain(self, path: Path, described: tflite_file.TFLiteFile) -> None:
        """Raise ModelUnsupported where the file is not what its recipe's name says."""
        wanted = {self.scheme.weights, self.scheme.fully_connected}
        if "int4" in wanted and not any("int4" in operator.types for operator in described.operators):
            raise self._unsupported("no operator of it can be int4", "take recipe int8 or int8-dynamic")
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

    def _plan(self) -> None:
        """Tell the tool what each operator becomes; of two that match, the later one holds."""
        scheme = self.scheme
        if scheme.calibration not in ("", "min-max"):
            raise self._unsupported(
                f"its calibration `{scheme.calibration}` is none that TFLite's quantizers have",
                "take `min-max`",
            )
        if scheme.activations == "uint8":
            raise self._unsupported("LiteRT computes in int8, not in uint8", "take int8 activations")
        everywhere = "int4" if scheme.weights == "int4" else ""
        self._add(EVERYTHING, ("*",), "int8" if everywhere else scheme.weights)
        if everywhere:
            self._add(EVERYTHING, self._int4_operators(), "int4", blocks=True)
        if scheme.fully_connected:
            self._add(EVERYTHING, ("FULLY_CONNECTED",), scheme.fully_connected)
        if scheme.granularity == "block":
            self._leave_what_blocks_do_not_divide()
        for name, dtype in (("INPUT", scheme.inputs), ("OUTPUT", scheme.outputs)):
            if scheme.calibrated and dtype == "float32":
                self._leave_float(EVERYTHING, name)
        for name in scheme.keep_float:
            self._leave_float(_expression(name), "*")

    def _int4_operators(self) -> tuple[str, ...]:
        if self.scheme.granularity == "block":
            return INT4_IN_BLOCKS
        return INT4_CALIBRATED if self.scheme.calibrated else INT4_OPERATORS

    def _add(self, where: str, operators: tuple[str, ...], weights: str, *, blocks: bool = False) -> None:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        scheme, granularities = self.scheme, qtyping.QuantGranularity
        granularity = (
            granularities.TENSORWISE if scheme.granularity == "tensor" else granularities.CHANNELWISE
        )
        if blocks and scheme.granularity == "block":
            granularity = self._blocks()
        for operator in map(qtyping.TFLOperationName, operators):
            if scheme.calibrated:
                self._tool.add_static_config(
                    where, operator, BITS[scheme.activations], BITS[weights], granularity
                )
            elif scheme.activations == "dynamic":
                self._tool.add_dynamic_config(where, operator, BITS[weights], granularity)
            elif weights == "float16":
                self._tool.add_weight_only_config(
                    where, operator, BITS[weights], algorithm_key=AlgorithmName.FLOAT_CASTING
                )
            else:
                self._tool.add_weight_only_config(where, operator, BITS[weights], granularity)

    def _blocks(self) -> Any:
        from ai_edge_quantizer import qtyping

        known = {
            int(item.name.partition("_")[2]): item
            for item in qtyping.QuantGranularity
            if item.name.startswith("BLOCKWISE_")
        }
        if self.scheme.block not in known:
            sizes = ", ".join(map(str, sorted(known)))
            raise self._unsupported(f"LiteRT has no blocks of {self.scheme.block}", f"take one of {sizes}")
        return known[self.scheme.block]

    def _leave_float(self, where: str, operator: str) -> None:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        self._tool.update_quantization_recipe(
            where, qtyping.TFLOperationName(operator), algorithm_key=AlgorithmName.NO_QUANTIZE
        )

    def _leave_what_blocks_do_not_divide(self) -> None:
        """Leave in int8 what the tool would fail the whole model for."""
        layers = _undivided(self.given, self.scheme.block)
        for layer in layers:
            self._add(re.escape(layer), ("FULLY_CONNECTED",), "int8")
        if layers:
            shown = ", ".join(layer.partition(";")[0] for layer in layers[:3])
            more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
            self.notes = (
                f"left in int8, because blocks of {self.scheme.block} don't divide them: {shown}{more}",
            )

    def _measure(self, calibration: Data) -> Any:
        from ai_edge_quantizer import calibrator, recipe, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        everything = recipe_manager.RecipeManager()
        everything.load_quantization_recipe(recipe.static_wi8_ai8())
        content = with_dead_ends(self._content)
        measuring = calibrator.Calibrator(
            content, num_threads=THREADS, qsv_update_func=qsv_utils.min_max_update
        )
        samples = _Samples(content, calibration)
        measuring.calibrate({samples.signature: samples}, everything)
        return measuring.get_model_qsvs()

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


def _expression(name: str) -> str:
    """A regular expression for a layer's or tensor's name; the tool looks for it in `tensor;tensor;`."""
    if name.startswith("re:"):
        return name[3:]
    return f"(^|[;/]){re.escape(name)}[;/]"


class _Samples:
    """Calibration samples by the names of a file's inputs, batch 1; the tool goes through them more than once."""

    def __init__(self, content: bytes, calibration: Data) -> None:
        from ai_edge_quantizer.utils import tfl_interpreter_utils

        interpreter = tfl_interpreter_utils.create_tfl_interpreter(content)
        self.signature = str(next(iter(interpreter.get_signature_list())))
        details = interpreter.get_signature_runner(self.signature).get_input_details()
        names = {detail["index"]: name for name, detail in details.items()}
        self._inputs = [(names[item["index"]], item["dtype"]) for item in interpreter.get_input_details()]
        self._calibration = calibration

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index in evenly(self._calibration.samples, MOST_CALIBRATION_SAMPLES):
            sample = zip(self._inputs, self._calibration.sample(int(index)), strict=True)
            yield {name: np.ascontiguousarray(array, dtype) for (name, dtype), array in sample}


def _undivided(given: Path, block: int) -> list[str]:
    """Scopes of the fully connected layers whose inputs blocks of that size don't divide."""
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    model = flatbuffer_utils.read_model(str(given))
    return [
        tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors)
        for graph in model.subgraphs
        for operator in graph.operators
        if flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) == "FULLY_CONNECTED"
        and int(graph.tensors[operator.inputs[1]].shape[-1]) % block
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool prints reports; they belong to the log."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
