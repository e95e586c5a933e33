"""Each server that is measured: how it is started, and which requests it takes.

The rule: all load the same files with one thread and no spinning, and answer the same numbers. Peers that speak v2
get the agent's own requests; the others get the same numbers in their own JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agent.contract.manifest import EngineName, Task
from agent.engines import open_engine
from agent.transforms.golden import GoldenSet
from benchmarks.peers.environment import environment, version
from benchmarks.peers.models import CONV_SHAPE, CONV_SHAPE_TFLITE, MLP_SHAPE
from tests.agent.boards import TestBoard

HERE = Path(__file__).parent
JSON, BINARY, CONV = "MLP, JSON", "MLP, binary", "conv, binary"
JSON_TFLITE, BINARY_TFLITE, CONV_TFLITE = "MLP, JSON, TFLite", "MLP, binary, TFLite", "conv, binary, TFLite"
MLP_KINDS = (JSON, BINARY, JSON_TFLITE, BINARY_TFLITE)
SERVED = {
    JSON: "mlp", BINARY: "mlp", CONV: "conv",
    JSON_TFLITE: "mlp-tflite", BINARY_TFLITE: "mlp-tflite", CONV_TFLITE: "conv-tflite",
}  # fmt: skip
"""Which model each kind of request asks."""
FILES = {
    "mlp": "mlp.onnx", "conv": "conv.onnx", "mlp-tflite": "mlp.tflite", "conv-tflite": "conv.tflite",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One request. `headers`: beside Content-Length."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """What can be started.

    Attributes:
        name: as the table has it, with version and backend. command, environment: of its process.
        port: where it listens.
        requests: by the kind of request; a kind that is not there is not spoken.
    """

    name: str
    command: list[str]
    port: int
    requests: Mapping[str, Asked]
    environment: Mapping[str, str] = field(default_factory=dict)


def v2_request(kind: str, tensor: str) -> Asked:
    """The same numbers each time, in version 2."""
    shape = MLP_SHAPE if kind in MLP_KINDS else CONV_SHAPE_TFLITE if kind == CONV_TFLITE else CONV_SHAPE
    values = np.random.default_rng(1).random(shape, np.float32)
    told: dict[str, object] = {"name": tensor, "shape": shape, "datatype": "FP32"}
    path = f"/v2/models/{SERVED[kind]}/infer"
    if kind in (JSON, JSON_TFLITE):
        told["data"] = [round(float(value), 4) for value in values.ravel()]
        return Asked(path, json.dumps({"inputs": [told]}).encode(), {"Content-Type": "application/json"})
    told["parameters"] = {"binary_data_size": values.nbytes}
    head = json.dumps({"inputs": [told], "parameters": {"binary_data_output": True}}).encode()
    return Asked(path, head + values.tobytes(), {"Inference-Header-Content-Length": str(len(head))})


def rows_request(path: str) -> Asked:
    """The MLP's numbers as `instances`."""
    values = np.random.default_rng(1).random(MLP_SHAPE, np.float32)
    rows = [[round(float(value), 4) for value in row] for row in values]
    body = json.dumps({"instances": rows}).encode()
    return Asked(path, body, {"Content-Type": "application/json"})


def fill_board(board: TestBoard, models: Path, names: Iterable[str]) -> None:
    """Write the bundles of models, and the generation that serves them."""
    bundles = {}
    for name in names:
        path = models / FILES[name]
        engine = open_engine(EngineName.LITERT if path.suffix == ".tflite" else EngineName.ONNXRUNTIME, path)
        shape = [max(length, 1) for length in engine.inputs[0].shape]
        bundles[name] = board.bundle(
            name=name,
            model_file=path,
            golden=GoldenSet(inputs=(np.zeros(shape, np.float32),)),
            inputs=engine.inputs,
            outputs=engine.outputs,
            task=Task.TENSOR,
        )
    board.generation(1, bundles)
    board.link("current", 1)


def agent(models: Path, folder: Path) -> Server:
    """Our agent, as a board runs it: validation, metrics, queue and limits on."""
    board, port = TestBoard(folder / "board"), free_port()
    fill_board(board, models, FILES)
    board.configure(port=port)
    command = [sys.executable, "-I", str(board.root / "bin" / "launch.py"), "run"]
    return Server("agent", command, port, {kind: v2_request(kind, _tensor(models, kind)) for kind in SERVED})


def floor(models: Path, folder: Path) -> Server:
    """The least that a Python process can do."""
    port = free_port()
    served = [f"{name}={models / file}" for name, file in FILES.items()]
    command = [sys.executable, str(HERE.parent / "floor.py"), "serve", str(port), *served]
    return Server("floor", command, port, {kind: v2_request(kind, _tensor(models, kind)) for kind in SERVED})


def triton(models: Path, folder: Path) -> Server:
    """A real tritonserver; the wheel brings its Python backend alone."""
    programs = environment("triton", ("nvidia-pytriton==0.7.0", "onnxruntime==1.32.0"))
    root = next(programs.parent.glob("lib/python3*/site-packages/pytriton/tritonserver"))
    stub = root / "python_backend_stubs" / "{}.{}".format(*sys.version_info) / "triton_python_backend_stub"
    shutil.copy(stub, root / "backends" / "python")
    repository = folder / "triton"
    for name, shape in (("mlp", MLP_SHAPE), ("conv", CONV_SHAPE)):
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(HERE / "triton_python.py", repository / name / "1" / "model.py")
        shutil.copy(models / f"{name}.onnx", repository / name / "1" / "model.onnx")
        dims = ", ".join(map(str, shape[1:]))
        (repository / name / "config.pbtxt").write_text(
            f'name: "{name}"\nbackend: "python"\nmax_batch_size: 32\n'
            f'input [{{ name: "x" data_type: TYPE_FP32 dims: [ {dims} ] }}]\n'
            'output [{ name: "output" data_type: TYPE_FP32 dims: [ 10 ] }]\n'
            "instance_group [{ count: 1 kind: KIND_CPU }]\n"
        )
    port = free_port()
    command = [
        str(root / "bin" / "tritonserver"),
        f"--model-repository={repository}", f"--backend-directory={root / 'backends'}",
        "--http-address=127.0.0.1", f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false",
        "--disable-auto-complete-config", "--log-info=false", "--log-warning=false",
    ]  # fmt: skip
    packages = next(programs.parent.glob("lib/python3*/site-packages"))
    libraries = f"{packages / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}"
    name = f"Triton 2.51 (pytriton {version(programs, 'nvidia-pytriton')}, Python backend)"
    return Server(
        name, command, port, {kind: v2_request(kind, "x") for kind in (JSON, BINARY, CONV)},
        {"LD_LIBRARY_PATH": libraries, "PYTHONPATH": str(packages), "PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip


def mlserver(models: Path, folder: Path) -> Server:
    programs = environment("mlserver", ("mlserver==1.7.1", "onnxruntime==1.32.0"))
    home = folder / "mlserver"
    (home / "mlp").mkdir(parents=True)
    port, others = free_port(), (free_port(), free_port())
    settings = {"http_port": port, "grpc_port": others[0], "metrics_port": others[1], "host": "127.0.0.1"}
    (home / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    model = {
        "name": "mlp",
        "implementation": "mlserver_onnx.OnnxModel",
        "parameters": {"uri": str(models / "mlp.onnx")},
    }
    (home / "mlp" / "model-settings.json").write_text(json.dumps(model))
    name = f"MLServer {version(programs, 'mlserver')}"
    command = [str(programs / "mlserver"), "start", str(home)]
    return Server(name, command, port, {JSON: v2_request(JSON, "x")}, {"PYTHONPATH": str(HERE)})


def litserve(models: Path, folder: Path) -> Server:
    programs, port = environment("litserve", ("litserve==0.2.19", "onnxruntime==1.32.0")), free_port()
    command = [
        str(programs / "python"),
        str(HERE / "litserve_server.py"),
        str(models / "mlp.onnx"),
        str(port),
    ]
    name = f"LitServe {version(programs, 'litserve')}"
    return Server(name, command, port, {JSON: rows_request("/predict")})


def bentoml(models: Path, folder: Path) -> Server:
    programs, port = environment("bentoml", ("bentoml==1.4.40", "onnxruntime==1.32.0")), free_port()
    command = [str(programs / "bentoml"), "serve", "bentoml_service:Service", "--working-dir", str(HERE),
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    variables = {
        "MODEL_FILE": str(models / "mlp.onnx"),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "bento"),
    }
    return Server(
        f"BentoML {version(programs, 'bentoml')}", command, port, {JSON: rows_request("/predict")}, variables
    )


def fastapi(models: Path, folder: Path) -> Server:
    programs = environment("fastapi", ("fastapi==0.165.0", "uvicorn==0.54.0", "onnxruntime==1.32.0"))
    port = free_port()
    command = [str(programs / "python"), str(HERE / "fastapi_server.py"), str(models / "mlp.onnx"), str(port)]
    name = f"FastAPI {version(programs, 'fastapi')} + onnxruntime"
    return Server(name, command, port, {JSON: rows_request("/predict")})


SERVERS: Mapping[str, Callable[[Path, Path], Server]] = {
    "agent": agent, "floor": floor, "triton": triton, "fastapi": fastapi, "litserve": litserve,
    "mlserver": mlserver, "bentoml": bentoml,
}  # fmt: skip


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _tensor(models: Path, kind: str) -> str:
    """The input's name: TFLite's converter chooses its own."""
    if not kind.endswith("TFLite"):
        return "x"
    return open_engine(EngineName.LITERT, models / FILES[SERVED[kind]]).inputs[0].name
