"""NVIDIA's own client, unmodified, over JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.agent.boards import digit_labels, digits
from tests.agent.conftest import RunningAgent

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")


@pytest.fixture
def client(served: RunningAgent) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        yield client


def asked(model_input: str, values: Any, datatype: str = "FP32") -> list[Any]:
    tensor = triton.InferInput(model_input, values.shape, datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    return [tensor]


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert not client.is_model_ready("nope")
    assert client.get_model_metadata("digits")["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 64]}
    ]


def test_inference(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=False)]

    result = client.infer("digits", asked("x", digits()), outputs=outputs, request_id="7")

    scores = result.as_numpy("probabilities")
    assert scores.dtype == np.float32
    assert np.mean(np.argmax(scores, axis=1) == digit_labels()) > 0.85
    assert result.get_response()["id"] == "7"


def test_errors_are_read(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    with pytest.raises(
        triton.InferenceServerException, match="unexpected inference input 'zz' for model 'digits'"
    ):
        client.infer("digits", asked("zz", digits()), outputs=outputs)
    with pytest.raises(
        triton.InferenceServerException, match="Request for unknown model: 'nope' is not found"
    ):
        client.infer("nope", asked("x", digits()), outputs=outputs)
