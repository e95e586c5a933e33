"""The board's stream: pictures of its own to a model."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class StreamError(EdgeError):
    """A board's stream can't do what it was asked for."""


class StreamSourceFailed(StreamError):
    code = "stream.source-failed"
    template = "nothing comes from {source}: {reason}"
    hint_template = (
        "the agent must be able to read it; as a system's service it sees neither home folders nor /tmp"
    )


class StreamAbsent(StreamError):
    code = "stream.absent"
    template = "`{device}` has no stream"
    hint_template = "start one with `edge stream start {device}`"


class StreamUnanswered(StreamError):
    code = "stream.unanswered"
    template = "the agent on `{device}` has not said in {timeout_s} s that its stream is {wanted}"
    hint_template = (
        "look at `edge device show {device}` and `edge logs {device}`; an older agent has no stream"
    )
    exit_code = ExitCode.INCOMPLETE
