"""Tables of the documentation that are written from the contract's own code."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Any

from agent.contract import commands, messages, samples
from agent.contract.link import LinkConfig
from agent.contract.topics import FROM_DEVICE, RETAINED, WITH_ID, TopicKind

MEANING = {
    TopicKind.BIRTH: "what the board is: agent, hardware, models with digests, the start it speaks of",
    TopicKind.STATE: "online, offline (it said goodbye), lost (the broker said it for it)",
    TopicKind.REPORTED: "the board's signed report: what runs, since when, verified how; how the last update stands",
    TopicKind.DESIRED: "that there is a new desired state; a hint to fetch, trusted through TUF alone",
    TopicKind.TELEMETRY: "samples of one start of the agent, in order, with stated gaps",
    TopicKind.EVENT: "something that happened, in the same sequence of numbers",
    TopicKind.ACK: "the enrolled collector's word that it has committed everything up to a number",
    TopicKind.COMMAND: "a request to the agent, with an expiry",
    TopicKind.REPLY: "its answer",
    TopicKind.INFER: "an inference request",
    TopicKind.RESULT: "its answer",
}
CARRIES: dict[TopicKind, type] = {
    TopicKind.BIRTH: messages.Birth,
    TopicKind.STATE: messages.PresenceMessage,
    TopicKind.REPORTED: messages.Signed,
    TopicKind.DESIRED: messages.DesiredHint,
    TopicKind.TELEMETRY: messages.Telemetry,
    TopicKind.EVENT: messages.EventMessage,
    TopicKind.ACK: messages.Ack,
    TopicKind.COMMAND: commands.Command,
    TopicKind.REPLY: commands.Reply,
}
SHOWN = (
    messages.Telemetry,
    samples.Sample,
    samples.BoardCounters,
    samples.ModelCounters,
    samples.Gap,
    messages.EventMessage,
    messages.Ack,
    messages.Birth,
    messages.PresenceMessage,
    LinkConfig,
)


def topics_table() -> str:
    """One row a kind of topic."""
    rows = ["| topic | from | retained | carries | what it says |", "|---|---|---|---|---|"]
    for kind in TopicKind:
        name = f"`…/<device>/{kind.value}{'/<id>' if kind in WITH_ID else ''}`"
        carried = CARRIES.get(kind)
        rows.append(
            f"| {name} | {'board' if kind in FROM_DEVICE else 'laptop'} | {'yes' if kind in RETAINED else ''} "
            f"| {carried.__name__ if carried else ''} | {MEANING[kind]} |"
        )
    return "\n".join(rows)


def message_tables() -> str:
    """Every message of telemetry: its fields with their types, and its own words about them."""
    return "\n\n".join(_message(kind) for kind in SHOWN)


def _message(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    fields = ", ".join(
        f"`{field.name}` {_type(hints[field.name])}{'' if _required(field) else ' (may be absent)'}"
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.name not in ("extra", "schema")
    )
    words, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:")
    text = [f"### {kind.__name__}", "", " ".join(words.split()), "", f"Fields: {fields}."]
    if attributes:
        text += ["", "```text", inspect.cleandoc(attributes), "```"]
    return "\n".join(text)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if type(None) in arguments:
        return _type(next(choice for choice in arguments if choice is not type(None)))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is not None and len(arguments) == 2:
        return f"object of {_type(arguments[1])}"
    plain = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}
    return plain.get(hint) or str(getattr(hint, "__name__", hint))
