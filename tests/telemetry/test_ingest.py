from __future__ import annotations

from pathlib import Path

from edge.telemetry.ingest import StreamAck
from tests.telemetry.boards import BOOT, PI, START, open_store, telemetry


def test_what_is_committed_is_acknowledged_once_a_stream(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.sqlite") as store:
        done = store.ingest([telemetry([1, 2]), telemetry([3])])
        assert done.acks == (StreamAck(PI, BOOT, 3, START + 3),)
        assert (done.stored, done.duplicates, done.holes, done.refused) == (3, 0, 0, ())
        again = store.ingest([telemetry([2, 3, 4])])
        assert again.acks == (StreamAck(PI, BOOT, 4, START + 4),)
        assert (again.stored, again.duplicates) == (1, 2)
