"""What AI Edge Quantizer is told of a file: what each of its operators becomes.

The rule: of two entries that match an operator, the later one holds. What an operator can't be in the width that the
scheme names, it is in int8.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from converters.recipe import Scheme

EVERYTHING = ".*"
BITS = {"int4": 4, "int8": 8, "int16": 16, "float16": 16}
INT4_OPERATORS = ("CONV_2D", "FULLY_CONNECTED", "EMBEDDING_LOOKUP")
"""What the runtime has in int4; with calibrated activations it has no EMBEDDING_LOOKUP, in blocks no CONV_2D."""
INT4_CALIBRATED = ("CONV_2D", "FULLY_CONNECTED")
INT4_IN_BLOCKS = ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")
ONE_SCALE = ("BATCH_MATMUL",)
"""What has one scale for all of its weights in every scheme with integer activations: with one for each channel, LiteRT
2.3 answers zeros, and says nothing."""


class NoPlan(Exception):
    """A scheme that can't be followed.

    Attributes:
        reason, way_out: for the sentence of an error.
    """

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(reason)
        self.reason, self.way_out = reason, way_out


class Plan:
    """One scheme for one file.

    Attributes:
        notes: what a person should know of it.
    """

    def __init__(self, tool: Any, given: Path, scheme: Scheme) -> None:
        self._tool, self._given, self._scheme = tool, given, scheme
        self.notes: tuple[str, ...] = ()

    def tell(self) -> None:
        """Tell the tool.

        Raises:
            NoPlan: the scheme is none that LiteRT or the tool has.
        """
        scheme = self._scheme
        if scheme.calibration not in ("", "min-max"):
            raise NoPlan(
                f"its calibration `{scheme.calibration}` is none that TFLite's quantizers have",
                "take `min-max`",
            )
        if scheme.activations == "uint8":
            raise NoPlan("LiteRT computes in int8, not in uint8", "take int8 activations")
        everywhere = "int4" if scheme.weights == "int4" else ""
        self._add(EVERYTHING, ("*",), "int8" if everywhere else scheme.weights)
        if everywhere:
            self._add(EVERYTHING, self._int4_operators(), "int4", blocks=True)
        if scheme.calibrated:
            self._add(EVERYTHING, ONE_SCALE, scheme.weights, granularity="tensor")
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
        if self._scheme.granularity == "block":
            return INT4_IN_BLOCKS
        return INT4_CALIBRATED if self._scheme.calibrated else INT4_OPERATORS

    def _add(
        self,
        where: str,
        operators: tuple[str, ...],
        weights: str,
        *,
        granularity: str = "",
        blocks: bool = False,
    ) -> None:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        scheme, granularities = self._scheme, qtyping.QuantGranularity
        by_tensor = (granularity or scheme.granularity) == "tensor"
        scales = granularities.TENSORWISE if by_tensor else granularities.CHANNELWISE
        if blocks and scheme.granularity == "block":
            scales = self._blocks()
        for operator in map(qtyping.TFLOperationName, operators):
            if scheme.calibrated:
                self._tool.add_static_config(where, operator, BITS[scheme.activations], BITS[weights], scales)
            elif scheme.activations == "dynamic":
                self._tool.add_dynamic_config(where, operator, BITS[weights], scales)
            elif weights == "float16":
                self._tool.add_weight_only_config(
                    where, operator, BITS[weights], algorithm_key=AlgorithmName.FLOAT_CASTING
                )
            else:
                self._tool.add_weight_only_config(where, operator, BITS[weights], scales)

    def _blocks(self) -> Any:
        from ai_edge_quantizer import qtyping

        known = {
            int(item.name.partition("_")[2]): item
            for item in qtyping.QuantGranularity
            if item.name.startswith("BLOCKWISE_")
        }
        if self._scheme.block not in known:
            sizes = ", ".join(map(str, sorted(known)))
            raise NoPlan(f"LiteRT has no blocks of {self._scheme.block}", f"take one of {sizes}")
        return known[self._scheme.block]

    def _leave_float(self, where: str, operator: str) -> None:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        self._tool.update_quantization_recipe(
            where, qtyping.TFLOperationName(operator), algorithm_key=AlgorithmName.NO_QUANTIZE
        )

    def _leave_what_blocks_do_not_divide(self) -> None:
        """Leave in int8 what the tool would fail the whole model for."""
        layers = _undivided(self._given, self._scheme.block)
        for layer in layers:
            self._add(re.escape(layer), ("FULLY_CONNECTED",), "int8")
        if layers:
            shown = ", ".join(layer.partition(";")[0] for layer in layers[:3])
            more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
            self.notes = (
                f"left in int8, because blocks of {self._scheme.block} don't divide them: {shown}{more}",
            )


def _expression(name: str) -> str:
    """A regular expression for a layer's or tensor's name; the tool looks for it in `tensor;tensor;`."""
    if name.startswith("re:"):
        return name[3:]
    return f"(^|[;/]){re.escape(name)}[;/]"


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
