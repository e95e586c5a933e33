"""NVIDIA's own clients, unmodified: blocking and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agent.serving.samples import MOST_SAMPLES
from tests.agent.boards import digit_labels, digits
from tests.agent.conftest import RunningAgent

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
triton_aio = pytest.importorskip("tritonclient.http.aio", reason="tritonclient[http] is not installed")

IMAGES = digits()


@pytest.fixture
def client(served: RunningAgent) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        yield client


def asked(
    model_input: str, values: Any = IMAGES, datatype: str = "FP32", *, binary: bool = True
) -> list[Any]:
    tensor = triton.InferInput(model_input, values.shape, datatype)
    return [tensor.set_data_from_numpy(values, binary_data=binary)]


def right(scores: Any) -> float:
    """The part of the images that is recognised."""
    assert scores.dtype == np.float32
    return float(np.mean(np.argmax(scores, axis=1) == digit_labels()))


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "3")
    assert not client.is_model_ready("nope")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("digits", "3")["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 64]}
    ]


def test_configuration(client: Any) -> None:
    found = client.get_model_config("digits")

    assert (found["name"], found["platform"], found["backend"]) == (
        "digits",
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert found["max_batch_size"] == MOST_SAMPLES
    assert [(each["name"], each["data_type"], each["dims"]) for each in found["input"] + found["output"]] == [
        ("x", "TYPE_FP32", [64]), ("probabilities", "TYPE_FP32", [10]),
    ]  # fmt: skip
    assert found["instance_group"][0]["count"] == 1
    assert client.get_model_config("small")["platform"] == "tflite"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_inference(client: Any, binary: bool, compression: str | None) -> None:
    outputs = None if binary else [triton.InferRequestedOutput("probabilities", binary_data=False)]

    result = client.infer(
        "digits", asked("x", binary=binary), outputs=outputs, request_id="7", timeout=10_000_000, priority=1,
        request_compression_algorithm=compression, response_compression_algorithm=compression,
    )  # fmt: skip

    assert right(result.as_numpy("probabilities")) > 0.85
    assert result.get_response()["id"] == "7"
    assert ("data" in result.get_output("probabilities")) != binary


def test_classification(client: Any) -> None:
    result = client.infer(
        "digits", asked("x"), outputs=[triton.InferRequestedOutput("probabilities", class_count=2)]
    )

    best = result.as_numpy("probabilities")
    assert best.shape == (40, 2)
    indexes = [int(row[0].split(b":")[1]) for row in best]
    assert np.mean(np.array(indexes) == digit_labels()) > 0.85


def test_mixed_inputs(client: Any) -> None:
    a, b = np.full((2, 3), 1.5, np.float32), np.full((2, 3), 2, np.int32)
    inputs = asked("b", b, "INT32") + asked("a", a, binary=False)

    result = client.infer("two", inputs, outputs=[triton.InferRequestedOutput("product", binary_data=True)])

    assert (result.as_numpy("product") == 3).all()
    assert result.as_numpy("sum") is None


def test_statistics_count_what_was_asked(client: Any) -> None:
    def counted() -> tuple[dict[str, Any], list[Any]]:
        (found,) = client.get_inference_statistics("digits", "3")["model_stats"]
        return found, found["batch_stats"]

    before, _ = counted()
    client.infer("digits", asked("x", digits(3)))
    after, sizes = counted()

    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 1
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(after["inference_stats"][part]["ns"] for part in parts) == pytest.approx(
        success["ns"], rel=0.01
    )
    assert 3 in [size["batch_size"] for size in sizes]
    assert after["last_inference"] > 1_500_000_000_000
    names = [each["name"] for each in client.get_inference_statistics()["model_stats"]]
    assert names == ["digits", "small", "two"]


def test_the_repository_is_listed_and_a_model_unloaded_and_loaded(client: Any) -> None:
    def states() -> dict[str, str]:
        return {each["name"]: each["state"] for each in client.get_model_repository_index()}

    assert states() == dict.fromkeys(("digits", "small", "two"), "READY")
    client.unload_model("two")
    assert states()["two"] == "UNAVAILABLE"
    assert not client.is_model_ready("two")
    with pytest.raises(triton.InferenceServerException, match="'two' has no available versions"):
        client.get_model_metadata("two")
    client.load_model("two")
    assert states()["two"] == "READY"
    with pytest.raises(triton.InferenceServerException, match="failed to load 'nope', failed to poll"):
        client.load_model("nope")
    with pytest.raises(triton.InferenceServerException, match="'config' can't be given"):
        client.load_model("two", config="{}")


def test_errors_are_read(client: Any) -> None:
    def refused(*inputs: Any, model: str = "digits", **more: Any) -> str:
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer(model, *inputs, **more)
        return str(caught.value.message())

    assert refused(asked("zz")) == "unexpected inference input 'zz' for model 'digits'"
    assert refused(asked("x"), model="nope") == "Request for unknown model: 'nope' is not found"
    assert (
        refused(asked("x"), model_version="9") == "Request for unknown model: 'digits' version 9 is not found"
    )
    assert refused(asked("x", IMAGES[:, :63])).endswith("Expected [-1,64], got [40,63]")
    assert refused(asked("x"), sequence_id=4).startswith("sequences are not served")
    outputs = [triton.InferRequestedOutput("zz")]
    assert refused(asked("x"), outputs=outputs) == "unexpected inference output 'zz' for model 'digits'"
    with pytest.raises(triton.InferenceServerException, match="Not Found"):
        client.get_system_shared_memory_status()


def test_the_asyncio_client(served: RunningAgent) -> None:
    async def talk() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("digits"))["versions"] == ["3"]
            assert (await client.get_model_config("digits"))["name"] == "digits"
            assert len(await client.get_model_repository_index()) == 3
            assert len((await client.get_inference_statistics())["model_stats"]) == 3
            for compression in (None, "gzip", "deflate"):
                result = await client.infer(
                    "digits", asked("x"), request_compression_algorithm=compression,
                    response_compression_algorithm=compression,
                )  # fmt: skip
                assert right(result.as_numpy("probabilities")) > 0.85
            with pytest.raises(triton.InferenceServerException, match="unexpected inference input"):
                await client.infer("digits", asked("zz"))

    asyncio.run(talk())
