"""Requests for answers over MQTT: taken, handed over, answered.

The rule: the agent's queue is asked, never gone round. What is taken and not answered yet is bounded in number and in
bytes, and what comes above that is told so; an answer goes to this board's own `result` topics and nowhere else,
whatever a request asks for; and an answer that the broker has not confirmed is sent again on the next connection.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import orjson

from agent.contract.codec import MAX_DOCUMENT_BYTES
from agent.contract.errors import EdgeError, ModelNotServed, NameInvalid, Overloaded, RequestInvalid
from agent.contract.names import check_name
from agent.contract.topics import TopicKind, beginning
from agent.link.asking import Answer, Ask, Question
from agent.link.kept import Kept
from agent.link.message import Message, Reply
from agent.link.reading import GOOD, question, reply

LONGEST_BYTES = MAX_DOCUMENT_BYTES
"""Of a request. The fleet's broker takes no more."""
MOST = 64
MOST_BYTES = 16 * 1024 * 1024
"""Requests that are not answered, and answers that the broker has not confirmed."""
MOST_REPLIES = 16 * MOST
"""Answers that wait, refusals included, which come in bursts. What is above gets none: nobody takes the answers."""
ON_THE_WAY = 8
"""Answers that were sent and are not confirmed, so that telemetry never waits behind more."""
LONGEST_TOPIC = 512
LOG = logging.getLogger("agent.link")


class _Refusal(NamedTuple):
    """An answer of the link's own."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Asked(NamedTuple):
    """A request that was handed over. `key` tells that it comes again; empty where it has no id."""

    message: Message
    question: Question
    topic: str
    key: bytes


class Inference:
    """One board's requests and answers. All but what `ask` is given is used by one thread.

    Args:
        fleet, device: whose. ask: hands a request over. wake: wakes the thread that sends answers.
        told: the board's own results, a model's name and JSON; another thread puts them there.
    """

    def __init__(
        self, fleet: str, device: str, ask: Ask, wake: Callable[[], None], told: deque[tuple[str, bytes]]
    ) -> None:
        self._requests = beginning(fleet, device, TopicKind.INFER)
        self._results = beginning(fleet, device, TopicKind.RESULT)
        self.filter = self._requests + "#"
        """What to subscribe to."""
        self._ask = ask
        self._wake = wake
        self._asked: set[bytes] = set()
        self._count = self._bytes = 0
        self._answered: deque[tuple[_Asked, Answer]] = deque()
        self._unsent: deque[Reply] = deque()
        self._sent: dict[int, Reply] = {}
        self._kept = Kept()
        self._told = told

    def concerns(self, topic: str) -> bool:
        """Whether a message on `topic` is a request."""
        return topic.startswith(self._requests)

    # --- in

    def heard(self, message: Message, now: float) -> None:
        """Take a request. One that was published to stay is none: it would be run at each connection."""
        if message.retained:
            return
        tail = message.topic[len(self._requests) :]
        topic, asked = self._results + tail, None
        try:
            if len(message.payload) > LONGEST_BYTES:
                text = f"the request's body is too large: at most {LONGEST_BYTES} bytes are taken"
                raise RequestInvalid(reason=text, status=413)
            model = _model(tail)
            asked = question(message, model, now)
            topic = self._reply_topic(message, topic)
            self._take(_Asked(message, asked, topic, _key(message, asked, topic)), model, now)
        except EdgeError as error:
            self._send(reply(message, topic, _refusal(error), asked.id if asked is not None else None))

    def _reply_topic(self, message: Message, default: str) -> str:
        wanted = message.response_topic
        if wanted is None:
            return default
        rest = wanted[len(self._results) :]
        if not wanted.startswith(self._results) or not rest or set(rest) & {"+", "#", "\0"}:
            raise RequestInvalid(reason=f"the response topic must begin with '{self._results}'")
        if len(wanted) > LONGEST_TOPIC:
            raise RequestInvalid(reason=f"the response topic must be at most {LONGEST_TOPIC} letters long")
        return wanted

    def _take(self, asked: _Asked, model: str, now: float) -> None:
        if asked.key:
            kept = self._kept.find(asked.key, now)
            if kept is not None:
                self._send(kept)
            if kept is not None or asked.key in self._asked:
                return
        length = len(asked.question.body)
        if self._count + len(self._unsent) + len(self._sent) >= MOST or self._bytes + length > MOST_BYTES:
            raise Overloaded(model=model)
        self._count += 1
        self._bytes += length
        self._asked.add(asked.key)
        self._ask(asked.question, lambda answer: self._is_answered(asked, answer))

    def _is_answered(self, asked: _Asked, answer: Answer) -> None:
        """In another thread."""
        self._answered.append((asked, answer))
        self._wake()

    # --- out

    def next(self, now: float) -> Reply | None:
        """The next answer to send, which `sent` is told of; None where there is none, or enough are on their way."""
        while self._answered:
            self._finish(*self._answered.popleft(), now)
        while self._told and len(self._sent) + len(self._unsent) < ON_THE_WAY:
            model, result = self._told.popleft()
            self._send(Reply(self._results + model, result, "application/json"))
        if not self._unsent or len(self._sent) >= ON_THE_WAY:
            return None
        return self._unsent.popleft()

    def sent(self, number: int, reply: Reply) -> None:
        """An answer is on its way, in the message of this number."""
        self._sent[number] = reply

    def confirmed(self, number: int) -> None:
        """The broker has the message of this number."""
        made = self._sent.pop(number, None)
        if made is not None:
            self._bytes -= len(made.payload)

    def disconnected(self) -> None:
        """What was not confirmed is sent again."""
        self._unsent.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    @property
    def busy(self) -> bool:
        """Whether a request is not answered, or an answer not confirmed."""
        return bool(self._count or self._unsent or self._sent)

    @property
    def due(self) -> bool:
        """Whether there is something to send."""
        return bool(self._answered or self._told or self._unsent) and len(self._sent) < ON_THE_WAY

    def _finish(self, asked: _Asked, answer: Answer, now: float) -> None:
        self._count -= 1
        self._bytes -= len(asked.question.body)
        self._asked.discard(asked.key)
        made = reply(asked.message, asked.topic, answer, asked.question.id)
        if asked.key and answer.status == GOOD:
            self._kept.keep(asked.key, made, now)
        self._send(made)

    def _send(self, made: Reply) -> None:
        if len(self._unsent) >= MOST_REPLIES:
            LOG.debug("an answer is thrown away: the broker does not take them")
            return
        self._unsent.append(made)
        self._bytes += len(made.payload)


def _model(tail: str) -> str:
    """The model that a request names; what follows its name is the client's own."""
    name = tail.partition("/")[0]
    try:
        return check_name(name, what="model")
    except NameInvalid as error:
        raise ModelNotServed(model=name[:100]) from error


def _key(message: Message, asked: Question, topic: str) -> bytes:
    """Of requests that are one and the same."""
    if message.correlation is None and asked.id is None:
        return b""
    whole = hashlib.blake2b(digest_size=16)
    for part in (
        topic.encode(),
        message.correlation or b"",
        asked.path.encode(),
        repr(asked.headers).encode(),
    ):
        whole.update(len(part).to_bytes(4, "big") + part)
    whole.update(asked.body)
    return whole.digest()


def _refusal(error: EdgeError) -> _Refusal:
    body = orjson.dumps({"error": str(error)})
    if isinstance(error, Overloaded):
        return _Refusal(503, body, headers=((b"Retry-After", b"1"),))
    return _Refusal(404 if isinstance(error, ModelNotServed) else error.facts.get("status", 400), body)
