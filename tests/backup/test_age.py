"""The seal of a backup: what was put in comes out, and what was cut, changed or guessed at does not."""

from __future__ import annotations

import base64
import io
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backup.age import PIECE_BYTES, Damaged, Locked, Opening, Sealing

OF_ANOTHER_PROGRAM = (
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBENWYvTWZia3VQVWF0ajF4MkZoTzNBIDE4Ck1BYzBEL2V0ZU9hL2hBT2drNjFlYVF2"
    "MUViN1lFTlVRWUlJNXRvREp5YjQKLS0tIHRKTTRnUkNDM0lLLysrSjZtVTN0d0I3WWx1cVVzWDRlZWJXdWtQTkgyUHcKlf2Cdx6YSLkZjEgX"
    "I17LNhZbx2CusuVnSeFK8PggEbwZLOER0/GXkcAJw/N0eUt8NU2qI41xqvPb5g=="
)
"""Sealed by rage 0.11 (through pyrage 1.4.0) with the passphrase `correct horse`."""


def sealed(*pieces: bytes, passphrase: str = "correct horse") -> bytes:
    out = io.BytesIO()
    sealing = Sealing(out, passphrase)
    for piece in pieces:
        sealing.write(piece)
    sealing.finish()
    return out.getvalue()


def opened(data: bytes, passphrase: str = "correct horse") -> bytes:
    return io.BufferedReader(Opening(io.BytesIO(data), passphrase)).read()


def test_what_another_program_sealed_is_opened() -> None:
    assert opened(base64.b64decode(OF_ANOTHER_PROGRAM)) == b"sealed by another program\n"


@given(
    st.lists(
        st.sampled_from([0, 1, 100, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]),
        max_size=4,
    )
)
def test_what_was_sealed_comes_out(lengths: list[int]) -> None:
    pieces = [secrets.token_bytes(length) for length in lengths]
    assert opened(sealed(*pieces)) == b"".join(pieces)


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(Locked):
        opened(sealed(b"x"), "correct horsE")


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    data = sealed(secrets.token_bytes(PIECE_BYTES + 50))
    body = data.index(b"\n--- ")
    for place in (*range(body + 80), *range(body + 80, len(data), 997), len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises((Damaged, Locked)):
            opened(bytes(changed))


def test_what_is_cut_or_longer_anywhere_is_noticed() -> None:
    data = sealed(secrets.token_bytes(2 * PIECE_BYTES))
    begin = data.index(b"\n--- ") + 48
    whole_piece = begin + 16 + PIECE_BYTES + 16
    for length in (0, 1, begin - 5, begin, begin + 16, whole_piece, whole_piece + 1, len(data) - 1):
        with pytest.raises(Damaged):
            opened(data[:length])
    with pytest.raises(Damaged):
        opened(data + b"x")


def test_no_passphrase_is_made_to_cost_all_memory() -> None:
    data = sealed(b"x").replace(b" 4\n", b" 40\n", 1)
    with pytest.raises(Damaged, match="rounds of scrypt"):
        opened(data)
