"""The agent's way in from other machines: shut, or open to TLS and tokens; and its socket for the board's programs."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.client
import json
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.codec import encode
from agent.contract.door import DoorConfig, Scope, Token
from edge.certificates import CertificateAuthority
from tests.agent.boards import TestBoard, digits
from tests.agent.conftest import START_S, RunningAgent

Start = Callable[..., RunningAgent]

INFER, CONTROL = "i" * 43, "c" * 43
TOKENS = (
    Token("camera", hashlib.sha256(INFER.encode()).hexdigest()),
    Token("admin", hashlib.sha256(CONTROL.encode()).hexdigest(), Scope.CONTROL),
)
ROW = {"instances": digits(1).tolist()}
PREDICT = "/v1/models/digits:predict"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class DoorBoard:
    """A board with a key, the authority of its fleet, and its agent."""

    def __init__(self, folder: Path) -> None:
        self.board = TestBoard(folder / "board")
        self.board.generation(1, {"digits": self.board.digits_onnx()})
        self.board.link("current", 1)
        (self.board.root / "link").mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        (self.board.root / "mqtt.key").write_bytes(text)
        self.public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        self.authority = CertificateAuthority(folder / "keys")
        self.port = free_port()
        self.agent: RunningAgent

    def config(self, **parts: Any) -> DoorConfig:
        certificate = self.authority.certify_server("d-0123456789", self.public.decode(), ("127.0.0.1",))
        return DoorConfig(
            **{
                "address": "127.0.0.1",
                "port": self.port,
                "certificate": certificate,
                "tokens": TOKENS,
                **parts,
            }
        )

    def write(self, document: DoorConfig | bytes | None) -> dict[str, Any] | None:
        """Write `door.json`, and wait for what the agent says of it."""
        path = self.board.root / "link" / "door.json"
        data = document if isinstance(document, bytes) else encode(document) if document else b""
        if document is None:
            path.unlink()
            self.agent.wait_until(lambda said: said.get("door") is None)
            return None
        fresh = path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.rename(path)
        seen = hashlib.sha256(data).hexdigest()
        said = self.agent.wait_until(lambda said: (said.get("door") or {}).get("seen") == seen)
        found: dict[str, Any] = said["door"]
        return found

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=self.authority.certificate)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)

    def ask(self, method: str, path: str, token: str | None = None, body: Any = None) -> tuple[int, Any]:
        connection = self.connect()
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json" and content
        return answer.status, json.loads(content) if is_json else content


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorBoard]:
    """A board whose agent runs, and whose door was opened after it began to."""
    folder = tmp_path_factory.mktemp("door")
    found = DoorBoard(folder)
    found.agent = RunningAgent(found.board, folder / "agent.log")
    try:
        found.agent.ready()
        found.write(found.config())
        yield found
    finally:
        found.agent.stop()


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", ""])
def test_an_agent_that_was_to_listen_beyond_the_loopback_refuses_to_start_and_says_why(
    tmp_path: Path, address: str
) -> None:
    board = TestBoard(tmp_path / "board", address=address)

    agent = RunningAgent(board, tmp_path / "log")
    try:
        assert agent.process.wait(START_S) == 1
    finally:
        agent.process.kill()
    said = agent.log.read_text()
    assert "other machines could ask the agent without TLS and tokens" in said
    assert "hint: set it to 127.0.0.1, and open the board's door with `edge device open`" in said
    assert board.running()["error"]["code"] == "agent.exposed"


def test_a_door_is_opened_while_the_agent_runs(beyond: DoorBoard) -> None:
    door = beyond.agent.wait_until(lambda said: said.get("door"))["door"]
    assert (door["address"], door["port"]) == ("127.0.0.1", beyond.port)
    assert door["tokens"] == ["camera", "admin"]

    status, answer = beyond.ask("POST", PREDICT, INFER, ROW)
    assert status == 200
    assert answer == beyond.agent.post(PREDICT, ROW)[1]


@pytest.mark.parametrize("token", [None, "", "x" * 43, INFER[:-1], INFER + "i", "\u00e4", TOKENS[0].sha256])
@pytest.mark.parametrize("path", [PREDICT, "/metrics", "/edge/v1/status", "/v2/models/digits", "/nothing"])
def test_without_a_token_of_the_door_nothing_is_told(beyond: DoorBoard, token: str | None, path: str) -> None:
    assert beyond.ask("GET", path, token) == (401, {"error": "a valid token is needed"})


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/v2/health/ready"])
def test_whether_it_lives_and_is_ready_may_be_asked_by_anyone(beyond: DoorBoard, path: str) -> None:
    assert beyond.ask("GET", path)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/digits/unload",
        "/v2/repository/models/digits/load/",
        "/v2/repository/model%73/digits/unload",
        "/v2%2frepository/models/digits/unload",
    ],
)
def test_a_token_for_answers_neither_loads_nor_unloads(beyond: DoorBoard, path: str) -> None:
    assert beyond.ask("POST", path, INFER)[0] == 403
    assert beyond.ask("POST", "/v2/repository/models/nope/unload", CONTROL)[0] not in (401, 403)
    assert beyond.ask("POST", PREDICT, INFER, ROW)[0] == 200


def test_a_body_is_not_read_before_its_token(beyond: DoorBoard) -> None:
    connection = beyond.connect()
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()

    assert connection.getresponse().status == 401
    connection.close()


def test_a_load_test_comes_in_by_its_token_alone(
    beyond: DoorBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agent.__main__ import main

    (tmp_path / "token").write_text(f"{INFER}\n")
    authority = tmp_path / "ca.pem"
    authority.write_text(beyond.authority.certificate)
    where = [
        "bench",
        "--url",
        f"https://127.0.0.1:{beyond.port}",
        "--model",
        "digits",
        "--ca",
        str(authority),
    ]
    where += ["--seconds", "0.2", "--warm-up", "0.1"]

    assert main([*where, "--token-file", str(tmp_path / "token")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["errors"] == {}
    assert told["requests"] > 0
    assert main(where) == 2
    assert "wants a token that it knows" in capsys.readouterr().err
    monkeypatch.setenv("EDGE_BENCH_TOKEN", INFER)
    assert main(where) == 0


def test_who_speaks_no_tls_gets_no_answer_and_others_theirs(beyond: DoorBoard) -> None:
    with socket.create_connection(("127.0.0.1", beyond.port), timeout=20) as plain:
        plain.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(1000)
    assert beyond.ask("POST", PREDICT, INFER, ROW)[0] == 200


def test_clients_that_never_shake_hands_keep_nobody_out(beyond: DoorBoard) -> None:
    silent = [socket.create_connection(("127.0.0.1", beyond.port), timeout=20) for _ in range(100)]

    assert beyond.ask("POST", PREDICT, INFER, ROW)[0] == 200
    for each in silent:
        each.close()


def test_a_revoked_token_ends_with_the_next_request_and_nobody_elses_connection_does(
    beyond: DoorBoard,
) -> None:
    config = beyond.config()
    beyond.write(config)
    connection = beyond.connect()
    for tokens, expected in ((TOKENS[1:], 401), (TOKENS, 200)):
        connection.request("GET", "/v2/models/digits", headers={"Authorization": f"Bearer {CONTROL}"})
        assert connection.getresponse().read()
        assert connection.sock is not None
        there = connection.sock

        beyond.write(dataclasses.replace(config, tokens=tokens))
        assert beyond.ask("POST", PREDICT, INFER, ROW)[0] == expected
    connection.request("GET", "/v2/models/digits", headers={"Authorization": f"Bearer {CONTROL}"})
    assert connection.getresponse().status == 200
    assert connection.sock is there
    connection.close()


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"{", "DoorConfig is not valid"),
        (b'{"schema":"edge.door/1","address":"0.0.0.0","certificate":"","tokens":[]}', "1 to 64"),
        ("another key", "key"),
        ("a taken port", "in use"),
    ],
)
def test_a_door_that_can_not_be_opened_stays_shut_with_the_reason_and_the_loopback_serves(
    beyond: DoorBoard, tmp_path: Path, document: bytes | str, reason: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if document == "another key":
            other = CertificateAuthority(tmp_path).server("x").certificate
            said = beyond.write(beyond.config(certificate=other))
        elif document == "a taken port":
            said = beyond.write(beyond.config(port=taken.getsockname()[1]))
        else:
            assert isinstance(document, bytes)
            said = beyond.write(document)

        assert said is not None
        assert said["error"]["code"] == "door.shut"
        assert reason.lower() in said["error"]["message"].lower()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", beyond.port), timeout=20)
        assert beyond.agent.post(PREDICT, ROW)[0] == 200


def test_a_door_is_shut_while_the_agent_runs(beyond: DoorBoard) -> None:
    beyond.write(beyond.config())
    assert beyond.ask("POST", PREDICT, INFER, ROW)[0] == 200

    beyond.write(None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", beyond.port), timeout=20)
    assert beyond.agent.post(PREDICT, ROW)[0] == 200
    beyond.write(beyond.config())


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def test_programs_of_the_board_ask_through_a_socket_in_its_folder(beyond: DoorBoard) -> None:
    path = beyond.board.root / "run" / "agent.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    connection = UnixConnection(path)

    connection.request("POST", PREDICT, json.dumps(ROW))

    assert json.loads(connection.getresponse().read()) == beyond.agent.post(PREDICT, ROW)[1]
    connection.close()


def test_a_process_that_starts_anew_fails_no_request_through_the_door_or_the_socket(
    beyond: DoorBoard,
) -> None:
    before = beyond.agent.wait_until(lambda said: said["ready"])["boot"]
    ended = threading.Event()
    counted: list[int] = []
    failed: list[str] = []

    def client(connect: Callable[[], http.client.HTTPConnection]) -> None:
        connection = connect()
        while not ended.is_set():
            try:
                connection.request("POST", PREDICT, json.dumps(ROW), {"Authorization": f"Bearer {INFER}"})
                answer = connection.getresponse()
                answer.read()
                counted.append(answer.status)
                if answer.will_close:
                    connection.close()
                    connection = connect()
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error))
                connection = connect()
        connection.close()

    ways: list[Callable[[], http.client.HTTPConnection]] = [
        beyond.connect, lambda: UnixConnection(beyond.board.root / "run" / "agent.sock"),
    ]  # fmt: skip
    clients = [threading.Thread(target=client, args=(way,)) for way in ways]
    for each in clients:
        each.start()
    beyond.board.configure(threads=2)  # another configuration needs another process
    beyond.agent.process.send_signal(signal.SIGHUP)
    beyond.agent.wait_until(lambda said: said["boot"] != before and said["ready"])
    time.sleep(0.3)
    ended.set()
    for each in clients:
        each.join(20)

    assert failed == []
    assert set(counted) == {200}
    assert beyond.ask("POST", PREDICT, INFER, ROW)[0] == 200


def test_on_a_small_board_what_can_never_fit_is_too_large_at_every_entrance(tmp_path: Path) -> None:
    small = DoorBoard(tmp_path)
    small.board.configure(
        memory_limit_mib=256
    )  # an eighth of it is for clients' bytes, half of that for one body
    small.agent = RunningAgent(small.board, tmp_path / "agent.log")
    try:
        small.agent.ready()
        small.write(small.config())
        loopback, beyond = small.agent.connect(), small.connect()
        for connection in (loopback, beyond):
            connection.putrequest("POST", PREDICT)
            connection.putheader("Authorization", f"Bearer {INFER}")
            connection.putheader("Content-Length", str(20 << 20))
            connection.endheaders()
            answer = connection.getresponse()
            assert (answer.status, b"at most 16777216 bytes are taken" in answer.read()) == (413, True)
            connection.close()
        packed = gzip.compress(bytes(20 << 20))
        loopback.request("POST", PREDICT, packed, {"Content-Encoding": "gzip"})
        answer = loopback.getresponse()
        assert (answer.status, b"at most 16777216 bytes are taken" in answer.read()) == (413, True)
    finally:
        small.agent.stop()
