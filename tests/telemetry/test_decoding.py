"""The fast reader against the contract's codec: what one takes the other takes, with the same value."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract import codec
from agent.contract.errors import ContractError, DocumentInvalid, DocumentTooLarge
from agent.contract.messages import Telemetry
from edge.telemetry.body import pack, unpack
from edge.telemetry.decoding import MESSAGE_BYTES, decode_telemetry
from tests.contract.strategies import documents, texts
from tests.telemetry.boards import model, sample, telemetry

USUAL = telemetry(
    [sample(1, models=[model(3, failed=1)]), sample(2, models=[model(5)])], gaps=[(5, 6)]
).payload


def known(value: Any) -> Any:
    """The fields that this version knows, whatever the class that holds them."""
    if isinstance(value, msgspec.Struct):
        return {name: known(getattr(value, name)) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name != "extra"]
        return {name: known(getattr(value, name)) for name in names}
    return [known(item) for item in value] if isinstance(value, tuple) else value


def outcome(decoder: Any, payload: bytes) -> Any:
    try:
        return known(decoder(payload))
    except ContractError as error:
        return (type(error), str(error))


def largest(value: Any) -> int:
    """The largest whole number in it."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max([largest(item) for item in items] + [abs(value) if isinstance(value, int) else 0])


def both(payload: bytes) -> None:
    """The one difference that there may be: numbers of more than 64 bits."""
    fast, slow = (outcome(d, payload) for d in (decode_telemetry, partial(codec.decode, Telemetry)))
    if isinstance(slow, dict) and largest(slow) >= 2**63:
        assert fast[0] is DocumentInvalid
        assert "too large" in fast[1]
    else:
        assert fast == slow


@settings(max_examples=30)
@given(documents(Telemetry))
def test_it_reads_whatever_a_board_can_write(message: Telemetry) -> None:
    assert known(decode_telemetry(codec.encode(message))) == known(message)


@given(st.data())
def test_a_changed_byte_means_the_same_to_both(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(USUAL) - 1))
    changed = USUAL[:at] + data.draw(st.binary(max_size=2)) + USUAL[at + data.draw(st.integers(0, 2)) :]
    both(changed)


@given(st.data())
def test_a_changed_value_means_the_same_to_both(data: st.DataObject) -> None:
    value = json.loads(USUAL)
    values = st.none() | st.booleans() | texts | st.floats() | st.integers() | st.just([]) | st.just({})
    where: Any = value
    while isinstance(where, (dict, list)) and where:
        key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        if not isinstance(where[key], (dict, list)) or data.draw(st.booleans()):
            where[key] = data.draw(values)
            break
        where = where[key]
    both(json.dumps(value).encode())


@given(st.data())
def test_a_key_that_stands_twice_is_refused_wherever_it_stands(data: st.DataObject) -> None:
    colons = [at for at in range(len(USUAL)) if USUAL[at : at + 2] == b'":']
    end = data.draw(st.sampled_from(colons))
    start = USUAL.rindex(b'"', 0, end)
    key = USUAL[start : end + 2]
    both(USUAL[:start] + key + b"0," + USUAL[start:])


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff\xfe", b"[]", b"nul", b"{", b'{"device": 1}', b"[" * 100_000, b'{"x":' * 100_000,
        USUAL[:-1] + b',"new":{"a":[1,2]}}', USUAL[:-1] + b',"extra":5}', USUAL[:-1] + b',"extra":{"a":1}}',
        USUAL.replace(b'"seq":1', b'"seq":1.0'), USUAL.replace(b'"seq":1', b'"seq":true'),
        USUAL.replace(b'"seq":1', b'"seq":18446744073709551616'), USUAL.replace(b'"queue":0', b'"queue":NaN'),
        USUAL.replace(b'"total":', b'"total":1e999,"t":'), USUAL.replace(b'"total":', b'"total":Infinity,"t":'),
        USUAL.replace(b'"device":"b-', b'"device":"\\ud800'), b"\xef\xbb\xbf" + USUAL, USUAL + b" \n", USUAL + b"{}",
    ],
    ids=range(21),
)  # fmt: skip
def test_what_is_odd_means_the_same_to_both(payload: bytes) -> None:
    both(payload)


def test_what_boards_of_this_version_write_is_read_the_fast_way() -> None:
    assert isinstance(decode_telemetry(USUAL), msgspec.Struct)


def test_a_message_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(DocumentTooLarge):
        decode_telemetry(b" " * (MESSAGE_BYTES + 1))


@settings(max_examples=30)
@given(documents(Telemetry))
def test_counters_are_read_back_from_their_packed_form(message: Telemetry) -> None:
    for one in message.samples:
        assert known(unpack(pack(one))) == known((one.board, one.models))
