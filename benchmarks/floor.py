"""The floor: the least that a Python process can do to answer the same requests with the same engine.

No validation, no counters, no queue, no limits: asyncio, httptools, orjson, `session.run`; v2 in JSON and with binary
tensors, of one input and one output. `bare` does not even serve: it loads the models, runs each once, and waits.

    python benchmarks/floor.py serve PORT NAME=MODEL...
    python benchmarks/floor.py bare NAME=MODEL...
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

import httptools
import numpy as np
import orjson

Run = Callable[[Any], Any]


def onnx_model(path: str) -> tuple[Run, list[int]]:
    """The model with the agent's settings, as a function, and its input's shape."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tensor = session.get_inputs()[0]
    return lambda array: session.run(None, {tensor.name: array})[0], [1, *tensor.shape[1:]]


def tflite_model(path: str) -> tuple[Run, list[int]]:
    """The same of a TFLite file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    first, last = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(array: Any) -> Any:
        interpreter.set_tensor(first["index"], array)
        interpreter.invoke()
        return interpreter.get_tensor(last["index"])

    return run, first["shape"].tolist()


def models(arguments: list[str]) -> dict[bytes, tuple[Run, list[int]]]:
    """By the path that asks for each."""
    found = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        made = onnx_model(path) if path.endswith(".onnx") else tflite_model(path)
        found[f"/v2/models/{name}/infer".encode()] = made
    return found


class Floor(asyncio.Protocol):
    """One client."""

    def __init__(self, loaded: dict[bytes, tuple[Run, list[int]]]) -> None:
        self._models = loaded
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._json = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"inference-header-content-length":
            self._json = int(value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, length = b"".join(self._body), self._json
        self._body, self._json = [], 0
        tensor = orjson.loads(body[:length] if length else body)["inputs"][0]
        values = (
            np.frombuffer(body, np.float32, -1, length) if length else np.array(tensor["data"], np.float32)
        )
        output = self._models[self._url][0](values.reshape(tensor["shape"]))
        told = {"name": "output", "datatype": "FP32", "shape": output.shape}
        if length:
            data = output.tobytes()
            told["parameters"] = {"binary_data_size": len(data)}
        else:
            data, told["data"] = b"", output.ravel()
        head = orjson.dumps({"model_name": "m", "outputs": [told]}, option=orjson.OPT_SERIALIZE_NUMPY)
        binary = b"Inference-Header-Content-Length: %d\r\n" % len(head) if length else b""
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n%bContent-Length: %d\r\n\r\n%b%b"
            % (binary, len(head) + len(data), head, data)
        )


async def serve(port: int, loaded: dict[bytes, tuple[Run, list[int]]]) -> None:
    """Until it is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Floor(loaded), "127.0.0.1", port)
    await server.serve_forever()


def bare(loaded: dict[bytes, tuple[Run, list[int]]]) -> None:
    """Run once, wait."""
    for run, shape in loaded.values():
        run(np.zeros(shape, np.float32))
    print("ready", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2]), models(sys.argv[3:])))
    else:
        bare(models(sys.argv[2:]))
