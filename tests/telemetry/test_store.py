"""The file itself: torn, newer, full, read-only, shared, killed; and what is deleted in time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.contract.errors import StoreMissing, StoreNewer, StoreUnusable
from edge.telemetry import query, schema
from edge.telemetry.ingest import Received
from edge.telemetry.records import LinkState
from edge.telemetry.store import DAY_S, PRUNE_STEP, Store
from tests.telemetry.boards import OTHER_BOOT, PI, ROCK, START, event, model, open_store, sample, telemetry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry" / "store.sqlite"


def many(first: int, count: int, **fields: object) -> list[Received]:
    return [telemetry([number], **fields) for number in range(first, first + count)]


def stored(store: Store) -> list[int]:
    return [sample.seq for sample in query.samples(store)]


def test_a_store_is_made_by_its_writer_for_its_owner_alone(path: Path) -> None:
    with pytest.raises(StoreMissing):
        Store.open(path)
    open_store(path).close()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".part")] == []
    with Store.open(path) as store:
        assert (query.position(store), query.fleet_now(store), query.streams(store)) == (0, (), ())


@pytest.mark.parametrize(
    "tear",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: b"x" * len(data),
        lambda data: data[:16] + os.urandom(len(data) - 16),
        lambda data: data[:4096],
    ],
    ids=["empty", "cut in the header", "no SQLite", "random", "cut after a page"],
)
@pytest.mark.parametrize("writer", [True, False])
def test_a_torn_store_is_refused_and_left_as_it_is(path: Path, tear: object, writer: bool) -> None:
    with open_store(path) as store:
        store.ingest(many(1, 50))
    torn = tear(path.read_bytes())  # type: ignore[operator]
    path.write_bytes(torn)
    with pytest.raises(StoreUnusable), Store.open(path, writer=writer) as store:
        store.ingest(many(51, 1)) if writer else query.streams(store)
    assert path.read_bytes()[: len(torn)] == torn


def test_another_programs_database_is_no_store(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE samples(a)")
    with pytest.raises(StoreUnusable, match="no telemetry store"):
        open_store(path)


def test_a_newer_store_is_left_alone(path: Path) -> None:
    open_store(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    for writer in (True, False):
        with pytest.raises(StoreNewer):
            Store.open(path, writer=writer)


def test_an_older_store_is_brought_up_to_date_by_its_writer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(path) as store:
        store.ingest(many(1, 3))
    added = "ALTER TABLE boards ADD COLUMN later TEXT"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(StoreUnusable, match="older edge"):
        Store.open(path)
    with open_store(path) as store:
        assert store.connection.execute("SELECT later FROM boards").fetchall() == []
        assert stored(store) == [1, 2, 3]
    Store.open(path).close()


def test_a_full_store_acknowledges_nothing_and_goes_on_when_there_is_room(path: Path) -> None:
    with open_store(path) as store:
        store.ingest(many(1, 10))
        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count={pages + 3}")
        with pytest.raises(StoreUnusable, match="full"):
            store.ingest([telemetry([sample(n, models=[model(n)] * 5)]) for n in range(11, 400)])
        assert stored(store) == list(range(1, 11)), "nothing of the batch is there"
        store.connection.execute(f"PRAGMA max_page_count={2**30}")
        done = store.ingest(many(10, 2))
        assert (done.acks[0].seq, done.stored, done.duplicates) == (11, 1, 1)


def test_a_full_drive_is_the_same(tmp_path: Path) -> None:
    """A file system of its own, so that the drive and not SQLite says that it is full."""
    script = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
from pathlib import Path
from agent.contract.errors import StoreUnusable
from tests.telemetry.boards import open_store, telemetry, sample, model
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_store(Path({str(tmp_path)!r}) / "s" / "store.sqlite") as store:
    store.ingest([telemetry([1])])
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    taken = 1
    try:
        for n in range(2, 10_000):
            store.ingest([telemetry([sample(n, models=[model(n)] * 5)])])
            taken = n
    except StoreUnusable as error:
        print(taken)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    taken = int(ended.stdout)
    with open_store(tmp_path / "s" / "store.sqlite") as store:
        assert stored(store) == list(range(1, taken + 1))
        assert store.ingest([telemetry([taken, taken + 1])]).stored == 1


def test_a_store_that_can_not_be_written_says_so_when_it_is_opened(path: Path) -> None:
    open_store(path).close()
    data = bytearray(path.read_bytes())
    data[18] = 3  # SQLite's own mark for "may be read only"; file modes don't stop root
    path.write_bytes(data)
    with pytest.raises(StoreUnusable, match="readonly"):
        open_store(path)


def test_two_writers_can_not_be(path: Path) -> None:
    with open_store(path), pytest.raises(StoreUnusable, match="another process"):
        open_store(path)
    open_store(path).close()


def test_a_reader_can_not_write(path: Path) -> None:
    open_store(path).close()
    with Store.open(path) as store, pytest.raises(StoreUnusable):
        store.write_links({PI: LinkState(tunnel="up", reason=None, silent_s=0, backlog=False)})


def test_readers_read_while_the_writer_writes(path: Path) -> None:
    with open_store(path) as writer, Store.open(path) as reader:
        ended = threading.Event()
        seen: list[int] = []

        def read() -> None:
            while not ended.is_set():
                seen.append(len(stored(reader)))

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(1, 1001, 10):
            writer.ingest(many(number, 10))
        ended.set()
        thread.join()
        assert len(stored(reader)) == 1000
    assert seen == sorted(seen)
    assert all(count % 10 == 0 for count in seen), "a batch is seen whole or not at all"


def test_what_was_acknowledged_is_there_after_kill_9(path: Path) -> None:
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parents[2])]!r}
from pathlib import Path
from tests.telemetry.boards import open_store, telemetry
with open_store(Path({str(path)!r})) as store:
    number = store.ingest([telemetry([1])]).acks[0].seq
    while True:
        number = store.ingest([telemetry([n]) for n in range(number + 1, number + 4)]).acks[0].seq
        print(number, flush=True)
"""
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(50)][-1]
        process.send_signal(signal.SIGKILL)
        acknowledged = int((process.stdout.read().split() or [acknowledged])[-1])
        process.wait()
        with Store.open(path) as reader:  # nobody has tidied up yet
            numbers = stored(reader)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= acknowledged
        path.unlink()
        for beside in path.parent.glob("store.sqlite-*"):
            beside.unlink()


def test_what_is_old_is_deleted_in_steps_but_the_newest_of_each_boot(path: Path) -> None:
    with open_store(path) as store:
        old = PRUNE_STEP + 500
        store.ingest([telemetry([n], rx=START) for n in range(1, old + 1)])
        store.ingest([telemetry([1, 2], boot=OTHER_BOOT, rx=START), event(1, device=ROCK, rx=START)])
        store.ingest([event(2, device=ROCK, rx=START), telemetry([old + 1, old + 2], rx=START + 2 * DAY_S)])
        now = START + 2.5 * DAY_S
        assert store.prune(0, now=now) == 0
        steps = []
        while deleted := store.prune(1, now=now):
            steps.append(deleted)
        assert max(steps) <= 2 * PRUNE_STEP
        assert sum(steps) == old + 1 + 1
        assert [(s.boot == OTHER_BOOT, s.seq) for s in query.samples(store)] == [
            (True, 2), (False, old + 1), (False, old + 2),
        ]  # fmt: skip
        assert [e.seq for e in query.events(store)] == [2]
        assert [s.high_water for s in query.streams(store)] == [old + 2, 2, 2]
        assert store.ingest([telemetry([old + 2, old + 3], rx=now)]).stored == 1


def test_positions_are_never_used_twice(path: Path) -> None:
    with open_store(path) as store:
        store.ingest([*many(1, 5), event(6)])
        before = (query.position(store), query.event_position(store))
        store.prune(1, now=START + 9 * DAY_S)
    with open_store(path) as store:
        assert (query.position(store), query.event_position(store)) == before
        store.ingest([telemetry([7]), event(8)])
        assert (query.position(store), query.event_position(store)) == (before[0] + 1, before[1] + 1)


def test_links_are_kept_as_they_were_written_last(path: Path) -> None:
    up = LinkState(tunnel="up", reason=None, silent_s=0.5, backlog=True)
    down = LinkState(tunnel="refused", reason="no forwarding", silent_s=0, backlog=False)
    with open_store(path) as store:
        store.write_links({PI: up, ROCK: up})
        store.write_links({ROCK: down})
        assert [board.link for board in query.fleet_now(store, devices=[PI, ROCK])] == [up, down]


@pytest.mark.parametrize("then", ["nothing", "another store", "a folder"])
def test_a_store_that_was_taken_away_or_replaced_takes_nothing_more(path: Path, then: str) -> None:
    with open_store(path) as store:
        store.ingest(many(1, 2))
        path.rename(path.with_suffix(".away"))
        if then == "another store":
            schema.create(path)
        elif then == "a folder":
            path.mkdir()
        with pytest.raises(StoreUnusable, match="taken away"):
            store.ingest(many(3, 1))
        with pytest.raises(StoreUnusable, match="taken away"):
            store.prune(1, now=START)


def test_what_a_deleted_store_left_is_not_in_the_next_one(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.telemetry.boards import open_store, telemetry\n"
        "open_store(Path(sys.argv[1])).ingest([telemetry([1])]); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    path.unlink()
    with open_store(path) as store:
        assert query.streams(store) == ()
