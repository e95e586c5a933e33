from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import agent
from agent.contract.errors import EngineMissing, EngineRefusesModel, InferenceFailed
from agent.contract.manifest import EngineName, ModelFormat, Task, TensorSpec
from agent.engines import choose, open_engine
from agent.models import Model, open_bundle
from agent.transforms.golden import GoldenSet
from tests.agent.boards import MODELS, ROOT, TestBoard, digits, tflite_specs, write_bundle
from tests.agent.conftest import RunningAgent


def test_the_engine_is_one_that_is_allowed_and_there() -> None:
    both = {"tflite-runtime": "2.14", "litert": "2.0"}

    assert choose(ModelFormat.TFLITE, both) is EngineName.LITERT
    assert choose(ModelFormat.ONNX, {"onnxruntime": "1.20"}) is EngineName.ONNXRUNTIME
    with pytest.raises(EngineMissing, match="`tflite-runtime`"):
        choose(ModelFormat.TFLITE, {"tflite-runtime": "2.14"})
    with pytest.raises(EngineMissing):
        choose(ModelFormat.ONNX, both)


@pytest.mark.parametrize(
    ("engine", "suffix"), [(EngineName.LITERT, "tflite"), (EngineName.ONNXRUNTIME, "onnx")]
)
@pytest.mark.parametrize("data", [b"", b"no model", b"\x08\x08\x12\x00"])
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, engine: EngineName, suffix: str, data: bytes
) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(data)

    with pytest.raises(EngineRefusesModel) as refused:
        open_engine(engine, path)

    assert str(tmp_path) not in str(refused.value)


def test_no_engine_writes_into_the_home_folder_or_keeps_telemetry(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from agent.contract.manifest import EngineName;"
        "from agent.engines import open_engine;"
        "open_engine(EngineName.ONNXRUNTIME, Path(sys.argv[1])); open_engine(EngineName.LITERT, Path(sys.argv[2]))"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", program, str(MODELS / "digits.onnx"), str(MODELS / "digits.tflite")],
        env={**environment, "HOME": str(home)},
        cwd=ROOT,
        check=True,
        timeout=60,
    )

    assert list(home.rglob("*")) == []


def test_the_broken_model_of_the_wild_is_refused_or_fails(real_models: Path) -> None:
    def load_and_run() -> None:
        engine = open_engine(EngineName.LITERT, real_models / "broken_person_detect.tflite")
        engine.run([np.zeros(spec.shape, spec.dtype) for spec in engine.inputs])

    with pytest.raises((EngineRefusesModel, InferenceFailed)):
        load_and_run()


def test_weights_outside_of_the_bundle_are_not_read(tmp_path: Path) -> None:
    np.ones(3, np.float32).tofile(tmp_path / "weights.bin")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../weights.bin"), ("length", "12")):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "outside",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [weights],
    )
    (tmp_path / "bundle").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "bundle" / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(EngineRefusesModel):
        open_engine(EngineName.ONNXRUNTIME, tmp_path / "bundle" / "model.onnx")


def test_a_batch_is_the_same_as_its_samples(tmp_path: Path) -> None:
    inputs, outputs = tflite_specs(MODELS / "digits.tflite")
    bundle = write_bundle(
        tmp_path,
        model_file=MODELS / "digits.tflite",
        golden=GoldenSet((digits(1),)),
        inputs=inputs,
        outputs=outputs,
    )
    model = Model(open_bundle(tmp_path / bundle))

    (together,) = model.run([digits(5)])
    apart = [model.run([digits(5)[place : place + 1]])[0] for place in range(5)]

    assert model.fixed_batch == 1
    assert np.array_equal(together, np.concatenate(apart))


def test_what_a_recurrent_layer_remembers_is_forgotten_between_requests() -> None:
    engine = open_engine(EngineName.LITERT, MODELS / "lstm.tflite")
    rows = np.random.default_rng(1).normal(size=engine.inputs[0].shape).astype(np.float32)

    first, _, again = engine.run([rows]), engine.run([-rows]), engine.run([rows])

    assert again[0].tolist() == first[0].tolist()


def test_a_manifest_that_tells_of_other_tensors_is_refused(tmp_path: Path) -> None:
    for spec in (
        TensorSpec(name="x", dtype="float32", shape=(-1, 63)),
        TensorSpec(name="x", dtype="int8", shape=(-1, 64)),
        TensorSpec(name="y", dtype="float32", shape=(-1, 64)),
    ):
        bundle = write_bundle(
            tmp_path,
            model_file=MODELS / "digits.onnx",
            golden=GoldenSet((digits(1),)),
            inputs=[spec],
            outputs=[TensorSpec(name="probabilities", dtype="float32", shape=(-1, 10))],
        )
        with pytest.raises(EngineRefusesModel, match="manifest"):
            Model(open_bundle(tmp_path / bundle))


def slow_model(path: Path) -> None:
    """Some 10 ms of multiplications."""
    weights = numpy_helper.from_array((np.eye(1024) * 0.5).astype(np.float32), "w")
    names = ["x", *(f"h{layer}" for layer in range(19)), "y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)],
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16, 1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16, 1024])],
        [weights],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_slow_model_waits_in_a_bounded_queue_and_holds_up_nobody(
    board: TestBoard, start: Callable[..., RunningAgent], tmp_path: Path
) -> None:
    slow_model(tmp_path / "slow.onnx")
    spec = TensorSpec(name="x", dtype="float32", shape=(-1, 16, 1024))
    slow = board.bundle(
        name="slow",
        model_file=tmp_path / "slow.onnx",
        golden=GoldenSet(inputs=(np.ones((1, 16, 1024), np.float32),)),
        inputs=[spec],
        outputs=[TensorSpec(name="y", dtype="float32", shape=(-1, 16, 1024))],
        task=Task.TENSOR,
    )
    board.generation(1, {"digits": board.digits_onnx(), "slow": slow})
    board.link("current", 1)
    served = start(board).ready()
    data = {"name": "x", "shape": [1, 16, 1024], "datatype": "FP32", "data": [1.0] * (16 * 1024)}
    body = json.dumps({"inputs": [data]}).encode()
    statuses: Counter[int] = Counter()
    retry: set[str | None] = set()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        connection.request("POST", "/v2/models/slow/infer", body)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
        retry.add(answer.headers["Retry-After"])
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(150)]
    for client in clients:
        client.start()
    waits = []
    while any(client.is_alive() for client in clients):
        began = time.monotonic()
        assert served.get("/v2/health/live")[0] == 200
        waits.append(time.monotonic() - began)
        time.sleep(0.02)
    models = {model["name"]: model for model in served.get("/edge/v1/status")[1]["models"]}

    assert (models["slow"]["inline"], models["digits"]["inline"]) == (False, True)
    assert statuses[200] + statuses[503] == 150
    assert statuses[200] >= 64
    assert models["slow"]["counters"]["errors"].get("request.overloaded", 0) == statuses[503]
    assert models["slow"]["counters"]["queue"] == 0
    assert all(1 <= int(seconds) <= 60 for seconds in retry if seconds is not None)
    assert sorted(waits)[len(waits) // 2] < 0.5


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((ROOT / "agent" / "pyproject.toml").read_text())["project"]

    assert agent.__version__ == project["version"]
