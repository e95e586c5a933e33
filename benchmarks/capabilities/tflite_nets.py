"""Small nets that cover what TensorFlow's converter and AI Edge Quantizer write, by every recipe.

The rule: nets of layers as people build them, and every plain operator once. What a recipe can't do with a whole
group of operators is tried with each of them alone, and what it can't do then is left out.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.capabilities.tflite_cut import SIGNATURE, named, with_signature

SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Net:
    """A function of tensors.

    Attributes:
        name: for the progress and the table of recipes.
        shapes: of the inputs, float32, batch first.
        parts: functions from the inputs to one output each; a net is all of them.
        calibrates: TensorFlow can run it for its ranges; on a loop that ends the process.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    parts: tuple[Callable[..., Any], ...]
    calibrates: bool = True

    def halves(self) -> tuple[Net, ...]:
        """Two nets of half the parts each; none where there is only one part."""
        middle = len(self.parts) // 2
        if not middle:
            return ()
        first, second = self.parts[:middle], self.parts[middle:]
        return replace(self, name=f"{self.name}-a", parts=first), replace(
            self, name=f"{self.name}-b", parts=second
        )

    def samples(self) -> list[list[NDArray[Any]]]:
        """Numbers for it."""
        random = np.random.default_rng(0)
        return [
            [random.uniform(-2, 2, shape).astype(np.float32) for shape in self.shapes] for _ in range(SAMPLES)
        ]


def nets() -> tuple[Net, ...]:
    """Every net, in the table's order."""
    from benchmarks.capabilities.tflite_layers import LAYERED, operators

    return (*(make() for make in LAYERED), *operators())


BY_TENSORFLOW = (
    "fp32",
    "fp16",
    "int8-dynamic (TensorFlow)",
    "int8",
    "int8-tensor",
    "int8-uint8-io",
    "int16x8",
)
UNCALIBRATED = 3
"""So many of them need no calibration."""


def _set_up(converter: Any, recipe: str, representative: Callable[[], Iterator[Any]]) -> None:
    """Set TensorFlow's converter up for a recipe."""
    import tensorflow

    lite, ops = tensorflow.lite, tensorflow.lite.OpsSet
    if recipe == "fp32":
        return
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel = recipe == "int8-tensor"
    if recipe == "fp16":
        converter.target_spec.supported_types = [tensorflow.float16]
    if recipe in BY_TENSORFLOW[UNCALIBRATED:]:
        converter.representative_dataset = representative
        wide = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        integers = wide if recipe == "int16x8" else ops.TFLITE_BUILTINS_INT8
        converter.target_spec.supported_ops = [integers, ops.TFLITE_BUILTINS]
    if recipe == "int8-uint8-io":
        converter.inference_input_type = converter.inference_output_type = tensorflow.uint8


BY_QUANTIZER: Mapping[str, Callable[[Any], None]] = {
    "int8-dynamic": lambda r: r.add_dynamic_config(".*", "*", 8),
    "int8-weights": lambda r: r.add_weight_only_config(".*", "*", 8),
    "int4": lambda r: r.add_dynamic_config(".*", "*", 4),
    "int4-weights": lambda r: r.add_weight_only_config(".*", "*", 4),
    "int4-block32": lambda r: r.add_dynamic_config(".*", "*", 4, granularity="BLOCKWISE_32"),
    "int8 (AI Edge Quantizer)": lambda r: r.add_static_config(".*", "*", 8, 8),
    "int8-int4": lambda r: r.add_static_config(".*", "*", 8, 4),
    "int16x8 (AI Edge Quantizer)": lambda r: r.add_static_config(".*", "*", 16, 8),
}
"""What each says to AI Edge Quantizer's recipe manager."""
RECIPES = (*BY_TENSORFLOW, *BY_QUANTIZER)


def converted(net: Net) -> Iterator[tuple[str, str, bytes]]:
    """Each recipe that can do the net, or parts of it: recipe, the (part's) name, file."""
    floats: dict[str, bytes | None] = {}

    def quantized(each: Net, recipe: str) -> bytes | None:
        if each.name not in floats:
            floats[each.name] = _tensorflow(each, "fp32")
        data = floats[each.name]
        return _quantizer(each, data, recipe) if data is not None else None

    for recipe in BY_TENSORFLOW if net.calibrates else BY_TENSORFLOW[:UNCALIBRATED]:
        for name, data in _as_whole_as_can_be(net, recipe, _tensorflow):
            yield recipe, name, data
            if recipe == "fp32":
                floats[name] = data
    for recipe in BY_QUANTIZER:
        for name, data in _as_whole_as_can_be(net, recipe, quantized):
            yield recipe, name, data


def _as_whole_as_can_be(
    net: Net, recipe: str, make: Callable[[Net, str], bytes | None]
) -> Iterator[tuple[str, bytes]]:
    """The net by a recipe, or what of its halves, their halves and so on can be made."""
    data = make(net, recipe)
    if data is not None and _runs(data):
        yield net.name, data
        return
    for half in net.halves():
        yield from _as_whole_as_can_be(half, recipe, make)


def _runs(data: bytes) -> bool:
    """Whether the newest runtime runs a file: converters write some that it does not."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError):
        return False
    return True


def _tensorflow(net: Net, recipe: str) -> bytes | None:
    import tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tensorflow.TensorSpec(shape, tensorflow.float32) for shape in net.shapes]
    function = tensorflow.function(lambda *tensors: [part(*tensors) for part in net.parts], autograph=False)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*signature))
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen])
    _set_up(converter, recipe, lambda: iter(net.samples()))
    try:
        return bytes(converter.convert())
    except Exception:  # it raises its own, RuntimeError and ValueError for what it can't do
        return None


def _quantizer(net: Net, data: bytes, recipe: str) -> bytes | None:
    from ai_edge_quantizer import quantizer, recipe_manager

    manager = recipe_manager.RecipeManager()
    BY_QUANTIZER[recipe](manager)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            work = quantizer.Quantizer(bytearray(with_signature(data)))
            work.load_quantization_recipe(manager.get_quantization_recipe())
            found = None
            if work.need_calibration:
                found = work.calibrate({SIGNATURE: [named(sample) for sample in net.samples()]})
            made = bytes(work.quantize(found).quantized_model)
        except Exception:  # as above
            return None
    return None if len(made) == len(with_signature(data)) else made
