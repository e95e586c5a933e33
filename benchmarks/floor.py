"""The floor: the least that a Python process can do to answer the same requests with the same engine.

No validation, no counters, no queue, no limits, one model: httptools, orjson, `session.run`. `bare` does not even
serve: it loads the model, runs it once, and waits.

    python benchmarks/floor.py serve|bare MODEL.onnx PORT
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import httptools
import numpy as np
import onnxruntime  # noqa: TID253 - nothing else is measured here
import orjson


def session(path: str) -> Any:
    """The model, with the agent's settings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Floor(asyncio.Protocol):
    """One client."""

    def __init__(self, model: Any) -> None:
        self._run = model.run
        self._name = model.get_outputs()[0].name
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        tensor = orjson.loads(self._body)["inputs"][0]
        self._body = b""
        array = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        (output,) = self._run(None, {tensor["name"]: array})
        answer = {
            "model_name": "m",
            "outputs": [
                {"name": self._name, "datatype": "FP32", "shape": output.shape, "data": output.ravel()}
            ],
        }
        body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)


async def serve(path: str, port: int) -> None:
    """Until it is ended."""
    model = session(path)
    server = await asyncio.get_running_loop().create_server(lambda: Floor(model), "127.0.0.1", port)
    await server.serve_forever()


def bare(path: str) -> None:
    """Load, run once, wait."""
    model = session(path)
    inputs = {tensor.name: np.zeros([1, *tensor.shape[1:]], np.float32) for tensor in model.get_inputs()}
    model.run(None, inputs)
    print("ready", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(sys.argv[2])
    else:
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
