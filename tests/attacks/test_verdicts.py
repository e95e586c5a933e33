"""Verdicts that are forged, replayed, or true and about something else: none of them says how an update ended.

What a broker lets a board say is tried in `tests/collector/test_broker_conformance.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.codec import encode
from agent.contract.errors import BoardNotFlashed, EdgeError
from agent.contract.messages import HistoryEntry, Reported, Signed, signed_bytes
from agent.contract.release import Generation
from agent.contract.states import UpdateState
from agent.contract.topics import TopicKind
from edge.fleet.status import BoardStatus
from edge.inventory import Device
from edge.rollouts.entries import Asked
from edge.rollouts.settling import ending
from edge.telemetry import query
from edge.telemetry.boards import KnownDevice
from edge.telemetry.ingest import Received
from edge.telemetry.store import Store
from tests.telemetry.boards import PI, ROCK, START
from tests.telemetry.boards import received as received_from

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
GOOD = Reported(device=PI, counter=7, state=UpdateState.CONFIRMED, nonce="a" * 32, wall=int(START))


def signed(
    reported: Reported,
    counter: int,
    *,
    key: Ed25519PrivateKey = KEY,
    device: str = PI,
    payload: str | None = None,
) -> Signed:
    text = payload if payload is not None else encode(reported).decode()
    return Signed(device, counter, text, key.sign(signed_bytes(device, counter, text)).hex())


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


TRUE = signed(GOOD, 5)
FORGED: dict[str, tuple[Signed, str]] = {
    "of nobody's key": (signed(GOOD, 9, key=OTHER_KEY), "report.forged"),
    "of another device, in its own envelope": (
        signed(replace(GOOD, device=ROCK), 9, key=OTHER_KEY, device=ROCK), "report.forged"
    ),
    "of another device, in this one's envelope": (signed(replace(GOOD, device=ROCK), 9), "report.forged"),
    "in another device's envelope": (signed(GOOD, 9, device=ROCK), "report.forged"),
    "with a higher counter and the old signature": (replace(TRUE, counter=9), "report.forged"),
    "with another word and the old signature": (
        replace(TRUE, payload=TRUE.payload.replace("confirmed", "finalised")), "report.forged"
    ),
    "without a signature": (replace(TRUE, signature=""), "report.forged"),
    "with half a signature": (replace(TRUE, signature=TRUE.signature[:64]), "report.forged"),
    "with a signature that is none": (replace(TRUE, signature="é" * 64), "report.forged"),
    "with a counter below nothing": (replace(TRUE, counter=-1), "report.forged"),
    "an older one": (signed(GOOD, 4), "report.replayed"),
    "signed, and no report": (signed(GOOD, 9, payload='{"device":"x"}'), "document.invalid"),
}  # fmt: skip


def over_ssh(envelope: Signed) -> Reported:
    """As a board's status that was read over SSH, by a laptop that has seen `TRUE`."""
    device = Device(
        name="pi", device_id=PI, host="127.0.0.1", user="pi", host_key="", fingerprint="", public_key=public(KEY),
        counter_seen=TRUE.counter,
    )  # fmt: skip
    return found_on_board(envelope).report(device)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    known = {PI: KnownDevice(name="pi", device_id=PI, public_key=public(KEY))}
    with Store.open(tmp_path / "s.sqlite", writer=True, known=known.get) as store:
        assert store.ingest([received(TRUE)]).refused == ()
        yield store


def received(envelope: Signed) -> Received:
    """As the broker hands it over, on the topic of the device that it is to be of."""
    return received_from(TopicKind.REPORTED, encode(envelope))


def found_on_board(envelope: Signed) -> BoardStatus:
    return BoardStatus(
        root="/opt/edge", installed=True, config=None, signed=envelope, agent=None, agent_alive=False,
        supervised=False, request_waits=False, clock=START,
    )  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_over_ssh_it_is_not_believed(what: str) -> None:
    envelope, code = FORGED[what]
    assert over_ssh(TRUE) == GOOD
    with pytest.raises(EdgeError) as refused:
        over_ssh(envelope)
    assert refused.value.code == code


@pytest.mark.parametrize("what", FORGED)
def test_over_the_broker_it_changes_nothing(store: Store, what: str) -> None:
    envelope, code = FORGED[what]
    if envelope.counter < 0:
        code = (
            "document.invalid" if store.ingest([received(envelope)]).refused[0].error.code != code else code
        )
    else:
        assert [refused.error.code for refused in store.ingest([received(envelope)]).refused] == [code]
    reported = query.report(store, PI)
    assert reported is not None
    assert (reported.counter, reported.state) == (7, UpdateState.CONFIRMED)


def test_a_restored_store_still_takes_nothing_that_is_older_than_what_was_seen_over_ssh(
    tmp_path: Path,
) -> None:
    known = {PI: KnownDevice(name="pi", device_id=PI, public_key=public(KEY), counter_seen=TRUE.counter)}
    with Store.open(tmp_path / "new.sqlite", writer=True, known=known.get) as restored:
        assert [r.error.code for r in restored.ingest([received(signed(GOOD, 4))]).refused] == [
            "report.replayed"
        ]
        assert query.report(restored, PI) is None


def test_a_board_that_was_never_enrolled_has_no_verdict() -> None:
    device = Device(name="pi", device_id=PI, host="127.0.0.1", user="pi", host_key="", fingerprint="")
    with pytest.raises(BoardNotFlashed):
        found_on_board(TRUE).report(device)


# --- true, and about something else ---------------------------------------------------------------------------------

RUNTIME = "1" * 64
ASKED = Asked(
    counter=7, nonce="b" * 32, content=Generation(7, RUNTIME, ()), before=Generation(6, RUNTIME, ())
)


def test_a_true_report_of_an_earlier_desired_state_with_the_same_number_is_no_verdict_on_this_one() -> None:
    mine = replace(GOOD, nonce=ASKED.nonce, current=ASKED.content)
    found = ending(mine, ASKED)
    assert found is not None
    assert found.well
    another = replace(GOOD, current=Generation(7, "2" * 64, ()))
    found = ending(another, ASKED)
    assert found is not None
    assert not found.well
    assert found.reason is not None
    assert found.reason.code == "artifact.replay-refused"


@pytest.mark.parametrize(
    "changes",
    [
        lambda true: replace(true, counter=6),
        lambda true: replace(true, counter=6, history=(_entry(5),)),
        lambda true: replace(true, in_progress=True, state=UpdateState.PROBATION),
        lambda true: replace(true, state=UpdateState.NONE, counter=0),
    ],
    ids=["the one before", "with its history", "of one that is not at its end", "of a new board"],
)
def test_a_true_report_of_something_earlier_leaves_it_open(changes: Callable[[Reported], Reported]) -> None:
    assert ending(changes(replace(GOOD, nonce=ASKED.nonce)), ASKED) is None


def test_a_true_report_of_something_later_tells_what_its_history_says_and_no_more() -> None:
    later = replace(GOOD, counter=9)
    for history, well in (((), False), ((_entry(8),), False), ((_entry(7),), True)):
        found = ending(replace(later, history=history), ASKED)
        assert found is not None
        assert found.well is well


def _entry(counter: int) -> HistoryEntry:
    return HistoryEntry(counter=counter, title="digits@1", state=UpdateState.CONFIRMED, at=1)
