"""What a model says of itself: `GET /v2/models/M`, and at `/config` the same in the words of Triton's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ModelUnavailable
from agent.contract.manifest import EngineName
from agent.serving.messages import Response, json_response
from agent.serving.tensors import DATATYPES

if TYPE_CHECKING:
    from agent.contract.manifest import TensorSpec
    from agent.models import Model
    from agent.serving.served import Served

PLATFORMS: Mapping[str, str] = {EngineName.ONNXRUNTIME.value: "onnxruntime_onnx"}
"""Triton's names of what runs a model; it has none for TFLite."""
TFLITE = "tflite"


def model_metadata(served: Served, versions: Sequence[Served]) -> Response:
    """Name, versions, tensors.

    Args:
        served: the version that is asked for.
        versions: all of that name.

    Raises:
        ModelUnavailable: it is not loaded.
    """
    model = _model(served)
    return json_response(
        {
            "name": served.name,
            "versions": [str(each.version) for each in versions],
            "platform": PLATFORMS.get(model.engine_name, TFLITE),
            "inputs": _tensors(model, model.inputs, model.input_dtypes),
            "outputs": _tensors(model, model.outputs, model.output_dtypes),
        }
    )


def model_configuration(served: Served) -> Response:
    """How it is run.

    Raises:
        ModelUnavailable: it is not loaded.
    """
    model = _model(served)
    manifest = model.bundle.manifest
    platform = PLATFORMS.get(model.engine_name, TFLITE)
    batch = served.most_samples if _any_batch(model) else 0
    inputs = [
        {**each, "format": "FORMAT_NONE", "allow_ragged_batch": False, "optional": False}
        for each in _configured(model.inputs, model.input_dtypes, batch)
    ]
    outputs = _configured(model.outputs, model.output_dtypes, batch)
    outputs[0]["label_filename"] = manifest.labels_file or ""
    run = served.status()
    return json_response(
        {
            "name": served.name,
            "platform": platform,
            "backend": platform.partition("_")[0],
            "version_policy": {"specific": {"versions": [served.version]}},
            "max_batch_size": batch,
            "input": inputs,
            "output": outputs,
            "batch_input": [],
            "batch_output": [],
            "instance_group": [
                {
                    "name": served.name,
                    "kind": "KIND_AUTO",
                    "count": run["lanes"],
                    "gpus": [],
                    "secondary_devices": [],
                    "profile": [],
                    "passive": False,
                    "host_policy": "",
                }
            ],
            "default_model_filename": manifest.model_file,
            "cc_model_filenames": {},
            "metric_tags": {},
            "parameters": {},
            "model_warmup": [],
            **_batching(run["batch"]),
        }
    )


def _batching(samples: int) -> dict[str, Any]:
    """Of requests that wait as many run together as the measured pace allows; none is made to wait for another."""
    if samples == 1:
        return {}
    return {"dynamic_batching": {"preferred_batch_size": [samples], "max_queue_delay_microseconds": 0}}


def _any_batch(model: Model) -> bool:
    return model.fixed_batch in (None, 1)


def _tensors(model: Model, specs: Sequence[TensorSpec], dtypes: Sequence[str]) -> list[dict[str, Any]]:
    batch = -1 if _any_batch(model) else model.fixed_batch
    return [
        {"name": spec.name, "datatype": DATATYPES[dtype], "shape": [batch, *spec.shape[1:]]}
        for spec, dtype in zip(specs, dtypes)  # noqa: B905 - one type per tensor
    ]


def _configured(specs: Sequence[TensorSpec], dtypes: Sequence[str], batch: int) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "data_type": f"TYPE_{DATATYPES[dtype]}",
            "dims": list(spec.shape[1:] if batch else spec.shape),
            "is_shape_tensor": False,
        }
        for spec, dtype in zip(specs, dtypes)  # noqa: B905 - one type per tensor
    ]


def _model(served: Served) -> Model:
    if served.model is None:
        raise ModelUnavailable(model=served.name)
    return served.model
