from __future__ import annotations

import json
from typing import Any

import pytest

from agent.contract.codec import decode, encode
from tests.contract.catalogue import DOCUMENTS
from tests.contract.golden import FOLDER, path_of
from tests.contract.samples import sample


@pytest.mark.parametrize("kind", DOCUMENTS, ids=lambda kind: kind.__name__)
def test_the_wire_format_is_what_it_was(kind: type) -> None:
    """Fails when a document changed. A field with a default may be added: then write the files anew, by hand."""
    assert encode(sample(kind)) == path_of(kind).read_bytes()


@pytest.mark.parametrize("kind", DOCUMENTS, ids=lambda kind: kind.__name__)
def test_what_was_written_once_is_read_for_ever(kind: type) -> None:
    stored = path_of(kind).read_bytes()
    written = json.loads(encode(decode(kind, stored)))
    assert within(json.loads(stored), written)


def within(old: Any, new: Any) -> bool:
    """Whether `new` says all that `old` says, and perhaps more fields."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and within(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return len(old) == len(new) and all(within(a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def test_every_document_has_a_golden_file_and_every_file_a_document() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {path_of(kind).name for kind in DOCUMENTS}
