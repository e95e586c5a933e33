"""The agent as a process: how it starts, what it says of itself, how it is swapped, how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest

from agent.contract.board import RunningAgent as Said
from agent.contract.codec import decode
from tests.agent.boards import MODELS, TestBoard, write_bundle
from tests.agent.conftest import RunningAgent

Start = Callable[..., RunningAgent]
BODY = {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}]}


def test_a_board_without_a_generation_is_alive_and_serves_nothing(board: TestBoard, start: Start) -> None:
    agent = start(board).ready()

    assert board.running()["generation"] == 0
    assert agent.get("/v2/health/live")[0] == 200
    assert agent.get("/v2/models") == (200, {"models": []})
    assert agent.post("/v2/models/digits/infer", BODY)[0] == 404
    assert agent.get("/edge/v1/status")[1]["title"] == "nothing"


def test_the_agent_is_alive_before_its_models_and_requests_wait_for_them(
    board: TestBoard, start: Start
) -> None:
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    agent = start(board)
    first = agent.wait_until(lambda said: True)

    assert first["ready"] is False
    assert agent.get("/v2/health/live")[0] == 200
    assert agent.post("/v2/models/digits/infer", BODY)[0] == 200
    assert agent.get("/v2/health/ready")[0] == 200
    said = decode(Said, json.dumps(agent.ready().board.running()).encode())
    assert (said.generation, said.ready, len(said.boot)) == (1, True, 16)


def test_the_trial_is_served_while_there_is_one(board: TestBoard, start: Start) -> None:
    board.generation(1, {"digits": board.digits_onnx()})
    board.generation(2, {"two": board.sum_and_product()})
    board.link("current", 1)
    board.link("trial", 2)

    agent = start(board).ready()

    assert board.running()["generation"] == 2
    assert agent.get("/v2/models")[1] == {"models": ["two"]}


def test_a_request_that_is_under_way_is_answered_before_the_end(board: TestBoard, start: Start) -> None:
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    agent = start(board).ready()
    body = json.dumps(BODY).encode()
    with socket.create_connection(("127.0.0.1", agent.port)) as client:
        client.sendall(
            b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        client.sendall(body[:100])
        time.sleep(0.2)
        agent.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        client.sendall(body[100:])
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert agent.process.wait(20) == 0


def test_signals_in_any_order_end_as_the_last_one_wants(board: TestBoard, start: Start) -> None:
    board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    agent = start(board).ready()
    boot = board.running()["boot"]

    board.configure(threads=2)  # so that it has to start anew
    for pause_s in (0.0, 0.01, 0.03, 0.1, 0.2, 0.0):
        agent.process.send_signal(signal.SIGHUP)
        time.sleep(pause_s)
    agent.wait_until(lambda said: said["boot"] != boot and said["ready"])
    assert agent.post("/v2/models/digits/infer", BODY)[0] == 200
    board.configure(threads=1)
    agent.process.send_signal(signal.SIGHUP)
    time.sleep(0.03)
    agent.process.send_signal(signal.SIGTERM)

    assert agent.process.wait(20) == 0


def test_a_taken_port_is_said(board: TestBoard, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        board.configure(port=port)
        agent = start(board)

        assert agent.process.wait(20) == 1
    assert f"error: port {port} on 127.0.0.1 is taken" in agent.log.read_text()
    assert "Traceback" not in agent.log.read_text()
    assert board.running()["error"]["code"] == "agent.port-taken"
    assert board.running()["ready"] is False


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("a flipped byte", "artifact.digest-mismatch"),
        ("a truncated model", "artifact.size-mismatch"),
        ("a missing model", "artifact.file-missing"),
        ("a link for a model", "artifact.file-missing"),
        ("another manifest", "artifact.digest-mismatch"),
    ],
)
def test_what_is_not_verified_is_not_run(board: TestBoard, start: Start, damage: str, code: str) -> None:
    bundle = board.digits_onnx()
    board.generation(1, {"digits": bundle, "two": board.sum_and_product()})
    board.link("current", 1)
    model = board.root / "objects" / bundle / "model.onnx"
    data = bytearray(model.read_bytes())
    if damage == "a flipped byte":
        data[len(data) // 2] ^= 1
        model.write_bytes(data)
    elif damage == "a truncated model":
        model.write_bytes(data[:-1])
    elif damage == "another manifest":
        manifest = model.with_name("manifest.json")
        manifest.write_bytes(manifest.read_bytes().replace(b"as-is", b"as-it"))
    else:
        model.unlink()
        if damage == "a link for a model":
            model.symlink_to(MODELS / "digits.onnx")

    agent = start(board)
    said = agent.wait_until(lambda said: said.get("error") is not None)

    assert said["error"]["code"] == code
    assert agent.get("/v2/health/ready")[0] == 503
    assert agent.get("/v2/models/digits/ready")[0] == 503
    assert agent.post("/v2/models/digits/infer", BODY)[0] == 404
    assert agent.get("/v1/models/digits")[1]["model_version_status"][0]["state"] == "END"
    assert agent.get("/v2/models/two/ready")[0] == 200


def test_a_model_whose_engine_is_not_there_is_said(board: TestBoard, start: Start) -> None:
    from agent.transforms.golden import GoldenSet
    from tests.agent.boards import tflite_specs

    inputs, outputs = tflite_specs(MODELS / "digits.tflite")
    bundle = write_bundle(
        board.root / "objects",
        model_file=MODELS / "digits.tflite",
        golden=GoldenSet(inputs=(np.zeros((1, 64), np.float32),)),
        inputs=inputs,
        outputs=outputs,
        engines={"tflite-runtime": "2.14"},
    )
    board.generation(1, {"digits": bundle})
    board.link("current", 1)

    said = start(board).wait_until(lambda said: said.get("error") is not None)

    assert said["error"]["message"] == "the runtime holds no engine `tflite-runtime`"


def test_a_damaged_generation_is_said(board: TestBoard, start: Start) -> None:
    folder = board.generation(1, {"digits": board.digits_onnx()})
    board.link("current", 1)
    document = json.loads((folder / "generation.json").read_bytes())
    (folder / "generation.json").write_text(json.dumps({**document, "models": 7}))

    agent = start(board)
    said = agent.wait_until(lambda said: said.get("error") is not None)

    assert said["error"]["code"] == "update.state-damaged"
    assert agent.get("/v2/health/live")[0] == 200


def test_systemd_is_told(board: TestBoard, start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    address = tmp_path_factory.mktemp("s") / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(20)
        start(board, NOTIFY_SOCKET=str(address), WATCHDOG_USEC="200000").ready()
        words = [listening.recv(1000) for _ in range(5)]

    assert words[0] == b"READY=1"
    assert words.count(b"WATCHDOG=1") >= 2
    assert b"STATUS=serving nothing" in words


def test_serving_goes_on_where_nothing_can_be_written(board: TestBoard, start: Start) -> None:
    port = free_port()
    board.configure(port=port)
    (board.root / "run").rmdir()
    (board.root / "run").write_text("in the way")
    agent = start(board)
    end = time.monotonic() + 20
    while "listening" not in agent.log.read_text() and time.monotonic() < end:
        time.sleep(0.02)

    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert "agent.json` can't be written" in agent.log.read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_too_much_memory_is_said(board: TestBoard, start: Start) -> None:
    board.configure(memory_limit_mib=1)
    agent = start(board).ready()
    end = time.monotonic() + 60
    while "uses more memory than it may" not in agent.log.read_text():
        assert time.monotonic() < end, agent.log.read_text()
        time.sleep(0.05)

    assert b"edge_agent_memory_over_limit 1" in agent.get("/metrics")[1]


def test_metrics_carry_tritons_names_beside_ours(served: RunningAgent) -> None:
    served.post("/v2/models/digits/infer", BODY)
    served.post("/v2/models/digits/infer", {})
    text = served.get("/metrics")[1].decode()

    for name in ("edge_model_requests_total", "nv_inference_request_success", "nv_inference_exec_count"):
        assert f'{name}{{model="digits",version="3"}} ' in text
    assert 'edge_model_errors_total{model="digits",version="3",code="request.invalid"} ' in text
    assert "nv_cpu_memory_total_bytes " in text
    counters = {model["name"]: model["counters"] for model in served.get("/edge/v1/status")[1]["models"]}
    assert counters["digits"]["requests"] >= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": 7}, "board.json` is not valid"),
        ({"log_level": "loud"}, "board.json` is not valid"),
        ({"threads": 0}, "board.json` is not valid"),
        ({"address": "192.0.2.1"}, "is 192.0.2.1: other machines could ask"),
        ({"address": "no address"}, "is no address: other machines could ask"),
    ],
)
def test_a_config_that_is_none_is_said(
    board: TestBoard, start: Start, change: dict[str, object], said: str
) -> None:
    config = json.loads((board.root / "board.json").read_bytes())
    (board.root / "board.json").write_text(json.dumps({**config, **change}))
    agent = start(board)

    assert agent.process.wait(20) == 1
    assert said in agent.log.read_text()
    assert "Traceback" not in agent.log.read_text()


def test_a_launcher_that_is_gone_is_no_swap(board: TestBoard, start: Start) -> None:
    agent = start(board).ready()
    shutil.rmtree(board.root / "bin")
    agent.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)

    assert agent.get("/v2/health/live")[0] == 200
    assert "can't start anew" in agent.log.read_text()
