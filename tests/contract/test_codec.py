from __future__ import annotations

import dataclasses
import enum
import json
import typing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.contract.codec import MAX_DEPTH, decode, digest, encode, from_plain, parse
from agent.contract.commands import Command
from agent.contract.errors import ContractError, DocumentInvalid, DocumentTooLarge
from agent.contract.manifest import BundleManifest, FileEntry, Step
from agent.contract.messages import Reported, Signed, signed_bytes
from agent.contract.release import Release
from agent.contract.states import UpdateState
from tests.contract.catalogue import DOCUMENTS, EXTENSIBLE
from tests.contract.samples import sample
from tests.contract.strategies import documents, texts

FEW = settings(derandomize=True, max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
NAMED = pytest.mark.parametrize("kind", EXTENSIBLE, ids=lambda kind: kind.__name__)


@NAMED
def test_what_is_written_is_what_is_read(kind: type) -> None:
    @FEW
    @given(documents(kind))
    def law(document: Any) -> None:
        written = encode(document)
        assert decode(kind, written) == document
        assert encode(decode(kind, written)) == written

    law()


@NAMED
def test_unknown_fields_are_kept(kind: type) -> None:
    plain = json.loads(encode(sample(kind)))
    plain["of-a-newer-version"] = {"deep": [1, None, 2.5, "é"]}
    document = decode(kind, json.dumps(plain).encode())
    assert document.extra == {"of-a-newer-version": {"deep": [1, None, 2.5, "é"]}}
    assert json.loads(encode(document)) == plain


@NAMED
def test_every_missing_or_wrong_field_is_named(kind: type) -> None:
    plain = json.loads(encode(sample(kind)))
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name == "extra" or hints[field.name] is Any:
            continue
        with pytest.raises(DocumentInvalid, match=field.name):
            from_plain(kind, {**plain, field.name: object()})
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required:
            without = {key: value for key, value in plain.items() if key != field.name}
            with pytest.raises(DocumentInvalid, match=f"`{field.name}` is missing"):
                from_plain(kind, without)


@NAMED
def test_an_unknown_word_becomes_unknown_and_never_a_crash(kind: type) -> None:
    plain = json.loads(encode(sample(kind)))
    for name, hint in typing.get_type_hints(kind).items():
        if not (isinstance(hint, type) and issubclass(hint, enum.Enum)) or name not in plain:
            continue
        try:
            document = from_plain(kind, {**plain, name: "of-a-newer-version"})
        except DocumentInvalid:
            assert kind.__name__ == "DeviceProfile"  # the user's own file: there it is a mistake
        else:
            assert getattr(document, name) is hint["UNKNOWN"]


def test_every_enumeration_that_travels_has_an_unknown() -> None:
    used = {
        hint
        for kind in EXTENSIBLE
        for hint in typing.get_type_hints(kind).values()
        if isinstance(hint, type) and issubclass(hint, enum.Enum)
    }
    assert used
    assert [kind.__name__ for kind in used if "UNKNOWN" not in kind.__members__] == []


@pytest.mark.parametrize("kind", DOCUMENTS, ids=lambda kind: kind.__name__)
def test_whatever_bytes_come_it_is_a_document_or_a_contract_error(kind: type) -> None:
    good = encode(sample(kind))

    @settings(derandomize=True, max_examples=60, deadline=None)
    @given(st.binary(max_size=60), st.integers(0, len(good)), st.integers(0, 8))
    def law(junk: bytes, where: int, cut: int) -> None:
        for data in (junk, good[:where] + junk[:3] + good[where + cut :]):
            try:
                document = decode(kind, data)
            except ContractError:
                continue
            assert decode(kind, encode(document)) == document

    law()


plain_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.data())
def test_wrong_types_in_any_place_are_contract_errors(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(DOCUMENTS))
    plain = json.loads(encode(sample(kind)))
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(plain_json)
    try:
        document = decode(kind, json.dumps(plain).encode())
    except ContractError:
        return
    assert decode(kind, encode(document)) == document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"op": "scale", "op": "resize"}', "twice"),
        ('{"op": "scale", "parameters": {"x": NaN}}', "NaN is no JSON"),
        ('{"op": "scale", "parameters": {"x": -Infinity}}', "Infinity is no JSON"),
        ('{"op": "scale", "parameters": {"x": 1e999}}', "no finite number"),
        ('{"op": "scale", "parameters": {"x": "\\ud800"}}', "surrogates not allowed"),
        ('{"op": 3}', "`op` must be a string, found 3"),
        ('{"op": null}', "`op` must be a string, found None"),
        ("[]", "must be an object"),
        ('{"op": "scale"} trailing', "Extra data"),
        ("", "Expecting value"),
    ],
)
def test_what_json_alone_would_let_pass_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DocumentInvalid, match=reason):
        decode(Step, text.encode())


def test_a_pair_of_escapes_is_one_character() -> None:
    assert decode(Step, b'{"op": "\\ud83d\\ude00"}').op == "\U0001f600"


def test_bytes_that_are_no_unicode_are_refused() -> None:
    with pytest.raises(DocumentInvalid):
        decode(Step, b'{"op": "\xff"}')


def test_numbers_are_strict() -> None:
    plain = json.loads(encode(sample(FileEntry)))
    for wrong in (True, 1.0, "1", -1):
        with pytest.raises(DocumentInvalid, match="size_bytes"):
            from_plain(FileEntry, {**plain, "size_bytes": wrong})


def test_a_whole_number_may_stand_for_a_real_one() -> None:
    plain = json.loads(encode(sample(Reported)))
    plain["checks"][0]["p95_ms"] = 3
    assert from_plain(Reported, plain).checks[0].p95_ms == 3.0


def test_a_document_is_at_most_so_long() -> None:
    with pytest.raises(DocumentTooLarge):
        decode(Step, b'{"op": "' + b"x" * 100 + b'"}', limit_bytes=99)


@pytest.mark.parametrize("depth", [MAX_DEPTH, 900])
@pytest.mark.parametrize("field", ["parameters", "of-a-newer-version"])
def test_what_has_no_type_is_no_deeper_than_the_rest(field: str, depth: int) -> None:
    deep = f'{{"op": "x", "{field}": {{"a": {"[" * depth}{"]" * depth}}}}}'
    with pytest.raises(DocumentInvalid, match="deeper"):
        decode(Step, deep.encode())


@pytest.mark.parametrize("depth", [MAX_DEPTH * 4, 100_000])
def test_deep_nesting_ends_in_a_contract_error_or_in_nothing(depth: int) -> None:
    deep = b'{"op": "x", "parameters": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
    try:
        encode(decode(Step, deep))
    except DocumentInvalid:
        return


def test_a_text_that_is_no_unicode_is_not_written() -> None:
    with pytest.raises(DocumentInvalid):
        encode(Step("\ud800"))
    with pytest.raises(DocumentInvalid):
        encode(Step("scale", {"factor": float("nan")}))


def test_a_field_inside_a_list_is_named_with_its_place() -> None:
    plain = json.loads(encode(sample(BundleManifest)))
    plain["files"][2]["sha256"] = "short"
    with pytest.raises(DocumentInvalid, match=r"files\[2\]"):
        from_plain(BundleManifest, plain)


def test_a_name_that_is_none_makes_its_document_invalid() -> None:
    plain = json.loads(encode(sample(Release)))
    with pytest.raises(DocumentInvalid, match="can't name a model"):
        from_plain(Release, {**plain, "name": "../up"})


def test_canonical_bytes_have_sorted_keys_and_no_blanks() -> None:
    written = encode(Command("1", "restart", {"b": 1, "a": [1.5, "é"]}))
    assert (
        written
        == (
            '{"action":"restart","expires_at":0,"id":"1","parameters":{"a":[1.5,"é"],"b":1},'
            '"schema":"edge.message/1"}'
        ).encode()
    )
    assert parse(written, document="Command") == json.loads(written)
    assert len(digest(written)) == 64


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.tuples(texts, st.integers(0, 10**6), texts), min_size=2, max_size=2, unique=True))
def test_no_two_envelopes_have_the_same_signed_bytes(envelopes: list[tuple[str, int, str]]) -> None:
    first, second = (signed_bytes(*envelope) for envelope in envelopes)
    assert first != second


def test_a_field_moved_between_device_and_counter_changes_what_is_signed() -> None:
    assert signed_bytes("b1", 1, "x") != signed_bytes("b", 11, "x")
    assert Signed("b", 1, "x", "").payload == "x"
    assert UpdateState("unknown") is UpdateState.UNKNOWN
