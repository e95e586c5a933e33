"""Which request a message is, which message an answer becomes, and which answers are kept."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config import BoardFolder
from agent.contract.errors import RequestInvalid
from agent.link.asking import Question
from agent.link.inference import MOST, MOST_REPLIES, ON_THE_WAY, Inference
from agent.link.kept import KEPT_S, MOST_BYTES, Kept
from agent.link.kept import MOST as MOST_KEPT
from agent.link.link import LONGEST_RESULT_BYTES, Link
from agent.link.message import Message, Reply
from agent.link.reading import question, reply
from agent.link.subject import MOST_RESULTS, Subject
from agent.serving.asking import Asking
from agent.serving.http import LARGEST_BODY
from agent.serving.messages import Request, Response

TO = "edge/v1/test-abcdef/50/d-0123456789/infer/digits"
BACK = TO.replace("/infer/", "/result/")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (b'{"inputs": [{"name": "x"}]}', "/v2/models/digits/infer"),
        (b' \n{"instances": [[1]], "id": "a"}', "/v1/models/digits:predict"),
        (b'{"inputs": {"x": [[1]]}}', "/v1/models/digits:predict"),
        (b'{"instances": [[NaN]]}', "/v1/models/digits:predict"),
        (b'{"instances": [', "/v2/models/digits/infer"),
        (b"\xff\xd8\xff\xe0 a photo", "/edge/v1/models/digits/infer"),
        (b"\x89PNG\r\n\x1a\n a drawing", "/edge/v1/models/digits/infer"),
        (b"\x93NUMPY an array", "/edge/v1/models/digits/infer"),
    ],
)
def test_the_beginning_of_a_payload_says_what_it_is(payload: bytes, path: str) -> None:
    found = question(Message(TO, payload), "digits", 0.0)
    assert found.path == path
    assert found.body == payload


@settings(deadline=None)
@given(st.binary())
def test_numbers_are_the_bytes_of_an_input_even_where_they_begin_like_json(tail: bytes) -> None:
    found = question(Message(TO, b"{\0" + tail), "digits", 0.0)
    assert found.path == "/v2/models/digits/infer"
    assert found.headers[b"inference-header-content-length"] == b"0"


def test_a_content_type_decides() -> None:
    assert question(
        Message(TO, b"\xff\xd8\xff", content_type="application/octet-stream"), "digits", 0.0
    ).headers
    assert not question(Message(TO, b"x", content_type="image/png"), "digits", 0.0).headers
    json_kind = question(Message(TO, b"\xff\xd8\xff", content_type="application/json"), "digits", 0.0)
    assert json_kind.path == "/v2/models/digits/infer"


def test_the_time_that_a_message_may_take_is_its_deadline() -> None:
    assert question(Message(TO, b"{}", expiry_s=5), "digits", 100.0).deadline == 105.0
    assert question(Message(TO, b"{}"), "digits", 100.0).deadline is None


def test_a_version_that_is_no_number_is_refused() -> None:
    with pytest.raises(RequestInvalid, match="must be a number"):
        question(Message(TO, b"{}", said={"model-version": "../x"}), "digits", 0.0)


def test_a_deadline_and_a_priority_reach_the_request() -> None:
    heard: list[Request] = []
    answers: list[object] = []
    ended = threading.Event()

    def handler(request: Request) -> Response:
        heard.append(request)
        return Response(200, b"{}")

    def answered(answer: object) -> None:
        answers.append(answer)
        ended.set()

    async def serve() -> None:
        asking = Asking(asyncio.get_running_loop(), handler, LARGEST_BODY)
        asked = Question("/v2/models/digits/infer", b"{}", deadline=7.0, priority=9)
        threading.Thread(target=asking, args=(asked, answered)).start()
        await asyncio.to_thread(ended.wait, 10.0)

    asyncio.run(serve())
    assert (heard[0].method, heard[0].deadline, heard[0].priority) == ("POST", 7.0, 9)
    assert answers == [Response(200, b"{}")]


def test_a_message_longer_than_a_body_may_be_here_is_told_so() -> None:
    answers: list[Response] = []

    async def serve() -> None:
        asking = Asking(asyncio.get_running_loop(), lambda _: Response(200, b"{}"), 3)
        for body in (b"abc", b"abcd"):
            asking(Question("/v2/models/digits/infer", body), answers.append)
        await asyncio.sleep(0.01)

    asyncio.run(serve())
    assert [answer.status for answer in answers] == [200, 413]


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.integers(), min_size=1),
    st.text(min_size=1),
    st.sampled_from([200, 404]),
)
def test_an_id_and_a_status_put_in_leave_the_rest_as_it_was(
    document: dict[str, int], id: str, status: int
) -> None:
    whole = {"kept": 1, **{name: value for name, value in document.items() if name not in ("id", "status")}}
    body = json.dumps(whole).encode()
    made = reply(Message(TO, b""), BACK, Response(status, body), id)
    found = json.loads(made.payload)
    assert found.pop("id") == id
    assert found.pop("status", 200) == status
    assert found == whole


def test_what_is_no_json_is_not_touched() -> None:
    body = np.arange(4, dtype=np.float32).tobytes()
    made = reply(Message(TO, b""), BACK, Response(200, body, b"application/octet-stream"), "id")
    assert made.payload == body


steps = st.lists(st.tuples(st.integers(0, 400), st.integers(0, MOST_BYTES // 2), st.floats(0, KEPT_S / 2)))


@settings(deadline=None)
@given(steps)
def test_what_is_kept_stays_within_its_bounds_and_is_what_was_answered(
    asked: list[tuple[int, int, float]],
) -> None:
    kept, now, given_at = Kept(), 0.0, dict[int, tuple[float, int]]()
    blob = bytes(MOST_BYTES)
    for number, length, later in asked:
        now += later
        found = kept.find(b"%d" % number, now)
        if found is not None:
            at, was = given_at[number]
            assert now - at <= KEPT_S
            assert len(found.payload) == was
        else:
            kept.keep(b"%d" % number, Reply(BACK, blob[:length], ""), now)
            given_at[number] = now, length
        assert len(kept) <= MOST_KEPT
        assert kept.bytes <= MOST_BYTES


class Board:
    """Requests to an `Inference`, whose questions wait until they are answered here."""

    def __init__(self) -> None:
        self.asked: list[tuple[Question, object]] = []
        self.told: deque[tuple[str, bytes]] = deque()
        ask = lambda asked, back: self.asked.append((asked, back))  # noqa: E731
        self.inference = Inference("test-abcdef", "d-0123456789", ask, lambda: None, self.told)

    def hear(self, payload: bytes, **about: object) -> None:
        self.inference.heard(Message(TO, payload, **about), monotonic())  # type: ignore[arg-type]

    def answer(self, body: bytes = b'{"done":1}', status: int = 200) -> None:
        _, back = self.asked.pop(0)
        back(Response(status, body))  # type: ignore[operator]

    def sends(self) -> Reply | None:
        return self.inference.next(monotonic())


def test_a_request_that_comes_again_while_it_runs_is_one_request() -> None:
    board = Board()
    board.hear(b'{"id": "a"}')
    board.hear(b'{"id": "a"}')
    assert len(board.asked) == 1
    board.answer()
    assert board.sends() is not None
    assert board.sends() is None


def test_an_error_is_not_kept() -> None:
    board = Board()
    board.hear(b'{"id": "a"}')
    board.answer(b'{"error":"busy"}', 503)
    assert board.sends() is not None
    board.hear(b'{"id": "a"}')
    assert len(board.asked) == 1


def test_an_answer_that_was_not_confirmed_is_sent_again_on_the_next_connection_in_order() -> None:
    board = Board()
    for number in range(3):
        board.hear(b'{"id": "%d"}' % number)
        board.answer(b'{"number":%d}' % number)
    sent = [board.sends() for _ in range(3)]
    for number, made in enumerate(sent):
        assert made is not None
        board.inference.sent(number, made)
    board.inference.confirmed(1)
    board.inference.disconnected()
    assert [board.sends(), board.sends(), board.sends()] == [sent[0], sent[2], None]


def test_what_waits_is_bounded_though_nobody_takes_answers() -> None:
    board = Board()
    for number in range(2 * MOST_REPLIES):
        board.hear(b'{"id": "%d"}' % number)
    assert len(board.asked) == MOST
    assert len(board.inference._unsent) == MOST_REPLIES
    assert b"is full" in board.inference._unsent[0].payload


def test_room_comes_back_when_answers_are_confirmed() -> None:
    board = Board()
    for number in range(5 * MOST):
        board.hear(b'{"id": "%d"}' % number)
        board.answer()
        made = board.sends()
        assert made is not None
        assert b"done" in made.payload
        board.inference.sent(number, made)
        board.inference.confirmed(number)
    assert board.inference._bytes == 0
    assert not board.inference.busy


def test_what_the_board_says_unasked_is_sent_when_there_is_room() -> None:
    board = Board()
    board.told += [("digits", b"%d" % number) for number in range(20)]
    sent = []
    assert board.inference.due
    while (made := board.sends()) is not None:
        board.inference.sent(len(sent), made)
        sent.append(made)
    assert len(sent) == ON_THE_WAY
    for number in range(20):
        board.inference.confirmed(number)
        if (made := board.sends()) is not None:
            board.inference.sent(len(sent), made)
            sent.append(made)
    assert [made.payload for made in sent] == [b"%d" % number for number in range(20)]
    assert {made.topic.rpartition("/result/")[2] for made in sent} == {"digits"}
    assert board.inference._bytes == 0


def test_a_result_from_before_the_link_runs_waits_for_it(tmp_path: Path) -> None:
    nobody: Any = None
    subject = Subject(BoardFolder(tmp_path), nobody, "0" * 16, nobody, nobody, nobody, nobody)
    link = Link(subject)
    assert not link.tell("digits", b"nobody collects")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "link.json").touch()
    assert not link.tell("digits", bytes(LONGEST_RESULT_BYTES + 1))
    for number in range(2 * MOST_RESULTS):
        assert link.tell("digits", b"%d" % number)
    assert list(subject.results) == [
        ("digits", b"%d" % number) for number in range(MOST_RESULTS, 2 * MOST_RESULTS)
    ]
