"""What boards say of themselves: births, goodbyes, late wills, and verdicts that are believed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.codec import encode
from agent.contract.messages import Presence, Reported, Signed, signed_bytes
from agent.contract.states import UpdateState
from agent.contract.topics import TopicKind
from edge.telemetry import query
from edge.telemetry.boards import KnownDevice
from edge.telemetry.ingest import Received
from edge.telemetry.store import Store
from tests.telemetry.boards import (
    OTHER_BOOT,
    PI,
    START,
    birth,
    open_store,
    received,
    state,
    telemetry,
)

KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.sqlite", enrolled(KEY)) as store:
        yield store


def enrolled(key: Ed25519PrivateKey | None, counter_seen: int = 0) -> dict[str, KnownDevice]:
    public = key.public_key().public_bytes_raw().hex() if key else None
    return {PI: KnownDevice(name="pi", device_id=PI, public_key=public, counter_seen=counter_seen)}


def verdict(counter: int, *, key: Ed25519PrivateKey = KEY, of: str = PI, envelope_of: str = PI) -> Received:
    payload = encode(
        Reported(device=of, counter=counter, state=UpdateState.CONFIRMED, nonce="56" * 16, wall=int(START))
    ).decode()
    signature = key.sign(signed_bytes(envelope_of, counter, payload)).hex()
    return received(TopicKind.REPORTED, encode(Signed(envelope_of, counter, payload, signature)))


def presence(store: Store) -> Presence:
    (board,) = query.fleet_now(store, devices=[PI])
    return board.presence


ONLINE, OFFLINE, LOST, UNKNOWN = Presence.ONLINE, Presence.OFFLINE, Presence.LOST, Presence.UNKNOWN


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], UNKNOWN),
        ([birth()], ONLINE),
        ([birth(), state(ONLINE)], ONLINE),
        ([birth(), state(LOST)], LOST),
        ([birth(), state(OFFLINE)], OFFLINE),
        ([birth(), state(LOST), birth(connection=2)], ONLINE),
        ([birth(), birth(connection=2), state(LOST)], ONLINE),
        ([birth(), birth(boot=OTHER_BOOT), state(LOST)], ONLINE),
        ([birth(), birth(boot=OTHER_BOOT), state(OFFLINE, boot=OTHER_BOOT), state(LOST)], OFFLINE),
        ([birth(), state(LOST, boot=OTHER_BOOT), birth(boot=OTHER_BOOT)], LOST),
        ([birth(), state(LOST, connection=2), birth(connection=2)], LOST),
        ([birth(connection=2), state(LOST, connection=2), birth(connection=1)], LOST),
        ([state(LOST), birth()], LOST),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_presence_is_of_the_connection_that_the_newest_birth_names(
    tmp_path: Path, messages: list[Received], expected: Presence, restarted: bool
) -> None:
    path = tmp_path / "store.sqlite"
    store = open_store(path)
    for message in messages:
        store.ingest([message])
        if (
            restarted and message is not messages[-2:][0]
        ):  # what comes too early is kept by the broker, not by us
            store.close()
            store = open_store(path)
    with store:
        assert presence(store) is expected


def test_all_orders_of_a_reconnect_end_well(tmp_path: Path) -> None:
    """The will of the first connection may come before, between and after what the second one says."""
    second = (birth(connection=2), state(ONLINE, connection=2))
    for number, order in enumerate(itertools.permutations([state(LOST), *second])):
        if order.index(second[0]) > order.index(second[1]):
            continue  # a board says it in this order
        with open_store(tmp_path / f"{number}.sqlite") as store:
            store.ingest([birth(), *order])
            assert presence(store) is ONLINE


def test_what_the_broker_had_kept_and_what_it_says_itself_is_no_sign_of_life(store: Store) -> None:
    store.ingest([birth(rx=START), telemetry([1], rx=START + 1)])
    store.ingest(
        [
            birth(rx=START + 100, retained=True),
            state(ONLINE, rx=START + 100, retained=True),
            state(LOST, rx=START + 101),
        ]
    )
    (board,) = query.fleet_now(store)
    assert board.last_seen == START + 1
    store.ingest([state(ONLINE, rx=START + 200)])
    assert query.fleet_now(store)[0].last_seen == START + 200


def test_a_birth_says_what_the_board_is(store: Store) -> None:
    store.ingest([birth(boot=OTHER_BOOT)])
    (board,) = query.fleet_now(store)
    assert (board.boot, board.agent_version, board.profile) == (OTHER_BOOT, "1.0", "raspberry-pi-5")
    assert [model.release for model in board.models] == ["digits@1"]


def test_a_verdict_counts_with_the_boards_own_signature(store: Store) -> None:
    assert store.ingest([verdict(7)]).refused == ()
    reported = query.report(store, PI)
    assert reported is not None
    assert (reported.counter, reported.state) == (7, UpdateState.CONFIRMED)
    assert query.fleet_now(store)[0].reported == reported


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (verdict(9, key=OTHER_KEY), "report.forged"),
        (verdict(9, envelope_of="b-00000000000000ff"), "report.forged"),
        (verdict(9, of="b-00000000000000ff"), "report.forged"),
        (verdict(6), "report.replayed"),
        (received(TopicKind.REPORTED, b'{"device":"x"}'), "document.invalid"),
    ],
    ids=["another key", "another board's envelope", "another board's report", "an older one", "none"],
)
def test_a_verdict_that_is_forged_or_replayed_changes_nothing(
    store: Store, message: Received, code: str
) -> None:
    store.ingest([verdict(7)])
    done = store.ingest([message])
    assert [refused.error.code for refused in done.refused] == [code]
    reported = query.report(store, PI)
    assert reported is not None
    assert reported.counter == 7
    assert [(r.code, r.count) for r in query.refused(store)] == [(code, 1)]


def test_the_same_verdict_again_is_no_replay(store: Store) -> None:
    assert store.ingest([verdict(7), verdict(7)]).refused == ()


def test_a_counter_that_was_seen_over_ssh_counts_too(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.sqlite", enrolled(KEY, counter_seen=8)) as store:
        assert [r.error.code for r in store.ingest([verdict(7)]).refused] == ["report.replayed"]


def test_what_was_seen_is_seen_after_a_restart(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.sqlite", enrolled(KEY)) as store:
        store.ingest([verdict(7)])
    with open_store(tmp_path / "s.sqlite", enrolled(KEY)) as store:
        assert [r.error.code for r in store.ingest([verdict(6)]).refused] == ["report.replayed"]


def test_a_board_that_was_enrolled_anew_counts_anew(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.sqlite", enrolled(KEY)) as store:
        store.ingest([verdict(7)])
    with open_store(tmp_path / "s.sqlite", enrolled(OTHER_KEY)) as store:
        assert [r.error.code for r in store.ingest([verdict(7)]).refused] == ["report.forged"]
        assert store.ingest([verdict(1, key=OTHER_KEY)]).refused == ()


def test_a_board_that_is_not_enrolled_has_no_verdicts(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.sqlite", enrolled(None)) as store:
        assert [r.error.code for r in store.ingest([verdict(7)]).refused] == ["report.forged"]
