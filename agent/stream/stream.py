"""The stream: one thread that looks, has the model asked, and tells the fleet.

The rule: it is begun where there is a `link/stream.json`, and ends with it. One picture is under way at a time, and the
newest is the next; nobody who asks the model waits for it. What fails is said when it begins to fail, and goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from agent.contract.codec import decode
from agent.contract.errors import ContractError, StreamSourceFailed
from agent.contract.stream import StreamConfig, StreamState
from agent.signals import leave_signals
from agent.stream.asking import Answer, Ask, Question, Tell
from agent.stream.filters import Filter
from agent.stream.memory import Memory
from agent.stream.source import Picture, Source
from agent.watched_file import WatchedFile

ANSWER_S = 30.0
LOOK_S = 1.0
"""Between looks at the document, and after a source that failed."""
END_S = 0.3
GOOD = 200
LIMIT_BYTES = 64 * 1024
LOG = logging.getLogger("agent.stream")


class Stream:
    """The agent's own questions to one of its models.

    Args:
        document: `link/stream.json`. state: `run/stream.json`.
        ask: has a question answered. tell: publishes a result.
    """

    def __init__(self, document: Path, state: Path, ask: Ask, tell: Tell) -> None:
        self._file = WatchedFile(document, limit_bytes=LIMIT_BYTES)
        self._memory = Memory(state)
        self._ask = ask
        self._tell = tell
        self._config: StreamConfig | None = None
        self._source: Source | None = None
        self._blind = False
        self._filter = Filter(min_score=None, on_change=False)
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it goes on: it ends where its document is taken away."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Begin to end; `wait` waits for it."""
        self._ended.set()
        self._answers.put(None)

    def wait(self) -> None:
        """Wait for the end, `END_S` at the longest: what is not remembered is asked again."""
        self._thread.join(END_S)

    def _run(self) -> None:
        leave_signals()
        look = turn = 0.0
        while not self._ended.is_set():
            now = time.monotonic()
            if now >= look:
                look = now + LOOK_S
                if not self._look():
                    break
            if now >= turn:
                turn = now + self._turn(now)
            self._memory.save(now)
            self._ended.wait(min(self._pause_s, LOOK_S))
        if self._source is not None:
            self._source.close()
        self._memory.save(time.monotonic(), at_once=True)

    @property
    def _pause_s(self) -> float:
        """Between two pictures, at the least."""
        return 1 / self._config.rate if self._config is not None else LOOK_S

    # --- following the document

    def _look(self) -> bool:
        """Follow the document where it has changed. Whether there is one."""
        if not self._file.changed():
            return True
        try:
            data = self._file.read()
            if data is None:
                self._memory.state = replace(self._memory.state, seen="", error="")
                return False
            seen = hashlib.sha256(data).hexdigest()
            self._follow(decode(StreamConfig, data, limit_bytes=LIMIT_BYTES), seen)
        except (OSError, ValueError, ContractError) as error:
            self._say(f"`{self._file.path.name}`: {error}")
        return True

    def _follow(self, config: StreamConfig, seen: str) -> None:
        if self._source is not None:
            self._source.close()
        before = self._memory.state
        known = before if before.source == config.source else StreamState(source=config.source)
        self._memory.state = replace(known, seen=seen, error="")
        self._source = _source(config, known.newest)
        self._filter = Filter(min_score=config.min_score, on_change=config.on_change)
        self._config = config
        LOG.info("from %s to `%s`, at most %g a second", config.source, config.model, config.rate)

    # --- a picture's way

    def _turn(self, now: float) -> float:
        """Take the newest picture where there is one. Seconds until the next may be taken."""
        config, source = self._config, self._source
        if config is None or source is None:
            return 0.0
        try:
            picture = source.next(now)
        except StreamSourceFailed as error:
            self._blind = True
            self._say(str(error))
            return LOOK_S
        if picture is not None:
            self._take(config, picture, source.skipped)
            source.skipped = 0
        elif self._blind:
            self._say("")
        self._blind = False
        return self._pause_s if picture is not None else 0.0

    def _take(self, config: StreamConfig, picture: Picture, skipped: int) -> None:
        answer = self._answer(Question(
            f"/edge/v1/models/{config.model}/infer", picture.body, time.monotonic() + ANSWER_S
        ))  # fmt: skip
        state = self._memory.state
        newest = max(state.newest, picture.at)
        state = replace(
            state, asked=state.asked + 1, skipped=state.skipped + skipped, newest=newest, last=picture.name
        )
        self._memory.state = state
        if answer is None or answer.status != GOOD:
            self._memory.state = replace(state, failed=state.failed + 1)
            self._say(_reason(answer))
            return
        document = self._filter(json.loads(answer.body))
        if document is None:
            self._say("")
        elif self._tell(config.model, _result(document, picture)):
            self._memory.state = replace(state, published=state.published + 1)
            self._say("")
        else:
            self._say("the link does not take results: nobody collects from this board, or they are too long")

    def _answer(self, question: Question) -> Answer | None:
        """None where there was none in time, or the stream ends."""
        self._answers = answers = SimpleQueue[Answer | None]()
        self._ask(question, answers.put)
        if self._ended.is_set():
            return None
        try:
            return answers.get(timeout=ANSWER_S)
        except Empty:
            return None

    def _say(self, error: str) -> None:
        if error != self._memory.state.error:
            self._memory.state = replace(self._memory.state, error=error)
            if error:
                LOG.warning("%s", error)
            else:
                LOG.info("the stream goes on")


def _source(config: StreamConfig, newest: int) -> Source:
    if config.camera is None:
        from agent.stream.folder import Folder

        return Folder(Path(config.source), newest)
    from agent.stream.camera import Camera

    return Camera(config.camera)


def _result(document: Mapping[str, Any], picture: Picture) -> bytes:
    return json.dumps({**document, "source": picture.name, "at": picture.at / 1e9}).encode()


def _reason(answer: Answer | None) -> str:
    if answer is None:
        return f"no answer in {ANSWER_S:g} s"
    try:
        return str(json.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the answer has the status {answer.status}"
