"""A board that an earlier version flashed takes the next flash."""

from __future__ import annotations

import json

from agent.contract.states import UpdateState
from tests.update.world import Board

RECORD = {
    "attempts", "bad", "checks", "clock_floor", "clock_seen", "code", "counter", "current", "current_checks",
    "current_verified", "desired", "digest", "hint", "history", "message", "previous", "request", "schema", "signed",
    "since", "state", "trial", "trust", "verified",
}  # fmt: skip
ENDED = {"at", "code", "counter", "message", "state", "title"}
"""The fields that the first version wrote; all others came later."""


def test_a_board_whose_record_is_from_before_the_later_fields_takes_the_next_flash(flashed: Board) -> None:
    flashed.stop()
    record = flashed.record
    assert record.keys() - RECORD, "there are later fields"
    earlier = {name: value for name, value in record.items() if name in RECORD}
    earlier["history"] = [{name: entry[name] for name in ENDED & entry.keys()} for entry in record["history"]]
    (flashed.root / "state/update.json").write_text(json.dumps(earlier))

    flashed.supervise()
    report = flashed.flash(2, flashed.fleet.publish("good second"))
    assert (report.state, flashed.served()["generation"]) == (UpdateState.CONFIRMED, 2)
    assert report.previous is not None
    assert [entry.counter for entry in report.history] == [2, 1]
    assert not (flashed.root / "state/update.damaged").exists()
