"""KServe's own client, unmodified, in an environment of its own: it brings pandas, grpc and Kubernetes along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agent.boards import digit_labels, digits
from tests.agent.conftest import RunningAgent
from tests.beds.board import cache_folder

VERSION = "0.21.0"
TALK = """
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

async def main(url, images):
    told = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        told["live"] = await client.is_server_live(url)
        told["ready"] = await client.is_server_ready(url)
        told["models"] = [await client.is_model_ready(url, name) for name in ("digits", "nope")]
        for binary in (True, False):
            given = InferInput("x", list(images.shape), "FP32")
            given.set_data_from_numpy(images, binary_data=binary)
            request = InferRequest("digits", [given], request_id="7", parameters={"binary_data_output": binary})
            answer = await client.infer(url, request, model_name="digits")
            scores = answer.outputs[0].as_numpy()
            told["binary" if binary else "json"] = [answer.id, np.argmax(scores, axis=1).tolist()]
        try:
            await client.infer(url, {"inputs": []}, model_name="digits")
        except Exception as error:
            told["error"] = str(error)
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        told["v1 live"] = await client.is_server_live(url)
        told["v1 ready"] = await client.is_model_ready(url, "digits")
        answer = await client.infer(url, {"instances": images.tolist()}, model_name="digits")
        told["v1"] = np.argmax(answer["predictions"], axis=1).tolist()
    print(json.dumps(told))

asyncio.run(main(sys.argv[1], np.array(json.load(sys.stdin), np.float32)))
"""


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """A Python that has the client; made once, and kept in the cache."""
    folder = cache_folder() / f"kserve-{VERSION}"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(
            [*uv, "pip", "install", "--quiet", "--python", python, f"kserve=={VERSION}"], check=True
        )
        (folder / "made").touch()
    return python


@pytest.mark.bed
@pytest.mark.timeout(900)
def test_kserves_client_is_served(served: RunningAgent, interpreter: Path) -> None:
    done = subprocess.run(
        [interpreter, "-c", TALK, f"http://127.0.0.1:{served.port}"],
        input=json.dumps(digits().tolist()), capture_output=True, text=True, timeout=600,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (told["live"], told["ready"], told["models"]) == (True, True, [True, False])
    assert (told["v1 live"], told["v1 ready"]) == (True, True)
    assert told["binary"] == told["json"] == ["7", told["v1"]]
    right = sum(found == label for found, label in zip(told["v1"], digit_labels(), strict=True))
    assert right / len(told["v1"]) > 0.85
    assert "expected 1 inputs but got 0 inputs for model 'digits'" in told["error"]
