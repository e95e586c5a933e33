"""The agent's door beyond the board's loopback."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class DoorError(EdgeError):
    """A board can't be reached from other machines, or must not be."""


class AgentExposed(DoorError):
    code = "agent.exposed"
    template = "`address` in `{path}` is {address}: other machines could ask the agent without TLS and tokens"
    hint_template = "set it to 127.0.0.1, and open the board's door with `edge device open`"


class DoorShut(DoorError):
    code = "door.shut"
    template = "the door stays shut: {reason}"
    hint_template = "open it anew with `edge device open`, or have it shut with `edge device close`"


class DoorUnanswered(DoorError):
    code = "door.unanswered"
    template = "the agent on `{device}` has not said in {timeout_s} s that its door is {wanted}"
    hint_template = "look at `edge device show {device}` and `edge logs {device}`; an older agent has no door"
    exit_code = ExitCode.INCOMPLETE


class TokenUnknown(DoorError):
    code = "door.unknown-token"
    template = "the door of `{device}` has no token `{name}`: it has {known}"
    exit_code = ExitCode.USAGE
