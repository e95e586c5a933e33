"""The seal of a backup: what was put in comes out, and what was cut, changed or guessed at does not."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from agent.contract.errors import BackupBeyondMachine, BackupDamaged, BackupLocked
from edge.backup.seal import free_memory_bytes, seal, see_memory, unseal

FILE = Path("fleet.edge")
PLAIN = secrets.token_bytes(100_000)
WORD = "correct horse"


@pytest.fixture(scope="module")
def sealed() -> bytes:
    return seal(PLAIN, WORD)


def with_rounds(sealed: bytes, log_n: int) -> bytes:
    return re.sub(rb"(-> scrypt \S+) \d+\n", rb"\1 %d\n" % log_n, sealed, count=1)


def test_what_was_sealed_comes_out_and_cannot_be_read_before(sealed: bytes) -> None:
    assert unseal(FILE, sealed, WORD) == PLAIN
    assert not any(PLAIN[place : place + 16] in sealed for place in range(0, len(PLAIN), 16))


def test_another_passphrase_opens_nothing_and_no_copy_is_blamed(sealed: bytes) -> None:
    with pytest.raises(BackupLocked):
        unseal(FILE, sealed, "correct horsE")


def test_where_passphrase_and_damage_cannot_be_told_apart_both_are_said(sealed: bytes) -> None:
    """Fewer rounds make it quick: the wrapped key does not open, as with another passphrase."""
    with pytest.raises(BackupLocked) as refused:
        unseal(FILE, with_rounds(sealed, 1), WORD)
    assert "passphrase" in str(refused.value)
    assert "changed: take another copy" in refused.value.hint


@pytest.mark.bed
def test_a_flipped_bit_anywhere_is_refused(sealed: bytes) -> None:
    mac = sealed.index(b"\n--- ")
    quick = [0, 5, 20, 21, 22, 25, 31, mac + 1, mac + 4, mac + 48]
    slow = [mac + 10, mac + 52, mac + 48 + 20, mac + 48 + 16 + 65536, len(sealed) - 1]
    for place in quick + slow:
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(BackupDamaged):
            unseal(FILE, bytes(changed), WORD)


@pytest.mark.bed
def test_what_is_cut_or_longer_anywhere_is_refused(sealed: bytes) -> None:
    begin = sealed.index(b"\n--- ") + 49
    whole_piece = begin + 16 + 65536 + 16
    for length in (*range(begin + 16), whole_piece, len(sealed) - 1):
        with pytest.raises(BackupDamaged):
            unseal(FILE, sealed[:length], WORD)
    with pytest.raises(BackupDamaged):
        unseal(FILE, sealed + b"x", WORD)


def test_no_passphrase_is_made_to_cost_all_memory(sealed: bytes) -> None:
    for log_n in (99, 40, 23):
        with pytest.raises(BackupDamaged, match=rf"2\^{log_n} rounds of scrypt"):
            unseal(FILE, with_rounds(sealed, log_n), WORD)


def test_what_memory_does_not_hold_is_said_before() -> None:
    see_memory(FILE, 1 << 20)
    with pytest.raises(BackupBeyondMachine, match=r"it takes [0-9]+\.[0-9] GB of memory, and"):
        see_memory(FILE, free_memory_bytes() + (8 << 30))
