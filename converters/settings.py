"""How an artifact was made, as data for the bundle's recipe, and what a person should know of its calibration."""

from __future__ import annotations

from typing import Any

from converters.calibration.data import Data
from converters.job import MOST_CALIBRATION_SAMPLES
from converters.recipe import Scheme

FEW_SAMPLES = 50
SCALES = {"tensor": "a scale a tensor", "channel": "a scale a channel"}


def tflite_settings(scheme: Scheme, calibration: Data | None) -> dict[str, Any]:
    """What was stored how; nothing of it for a float file."""
    made: dict[str, Any] = {"operators": "built-in"}
    if scheme.weights == "float32":
        return made
    blocks = f"a scale for {scheme.block} of them"
    scales = "" if scheme.weights == "float16" else f", {SCALES.get(scheme.granularity, blocks)}"
    made["weights"] = f"{scheme.weights}{scales}"
    if scheme.fully_connected:
        made["fully_connected"] = scheme.fully_connected
    if scheme.activations == "dynamic":
        made["activations"] = "int8, quantized at each inference"
    elif calibration is not None:
        made |= {
            "activations": f"{scheme.activations}, a scale a tensor",
            "inputs": scheme.inputs,
            "outputs": scheme.outputs,
            "calibration": calibration_settings(calibration, scheme.calibration),
        }
    return made | ({"keep_float": list(scheme.keep_float)} if scheme.keep_float else {})


def calibration_settings(calibration: Data, method: str) -> dict[str, Any]:
    """What went into a calibration, as data for the bundle's recipe."""
    return {
        "method": method,
        "file": calibration.path.name,
        "sha256": calibration.sha256,
        "samples": min(calibration.samples, MOST_CALIBRATION_SAMPLES),
    }


def few_samples(calibration: Data | None) -> tuple[str, ...]:
    """A warning where a calibration rests on little."""
    if calibration is not None and calibration.samples < FEW_SAMPLES:
        held = f"only {calibration.samples} calibration sample{'s' * (calibration.samples > 1)}"
        return (f"{held}; {FEW_SAMPLES} or more find the ranges better",)
    return ()
