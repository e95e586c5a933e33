"""Chaos sees faults: each is planted in a copy of the code, and a run reports what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.edge_chaos import Patch, chaos, copy_of_the_code

RUN = ("--boards", "2", "--samples", "1500", "--kills", "4", "--cuts", "1", "--broker", "mosquitto")

ACKNOWLEDGES_BEFORE_IT_COMMITS = (
    Patch(
        "edge/telemetry/ingest.py",
        '        self._connection.execute("BEGIN IMMEDIATE")\n',
        "        if not self._connection.in_transaction:\n"
        '            self._connection.execute("BEGIN IMMEDIATE")\n',
    ),
    Patch(
        "edge/telemetry/ingest.py",
        '            self._boards.write()\n            self._connection.execute("COMMIT")\n',
        "            self._boards.write()\n"
        "            self._open = getattr(self, '_open', 0) + 1\n"
        "            if self._open % 8 == 0:\n"
        '                self._connection.execute("COMMIT")\n',
    ),
    Patch(
        "edge/telemetry/store.py",
        '            self.connection.execute("BEGIN IMMEDIATE")\n',
        "            if self.connection.in_transaction:\n"
        "                yield\n"
        "                return\n"
        '            self.connection.execute("BEGIN IMMEDIATE")\n',
    ),
)
"""Every eighth batch commits itself and those before it; each is acknowledged at once."""
DELETES_WHEN_THE_BROKER_HAS_IT = (
    Patch(
        "agent/link/session.py",
        "        if connection.listening:\n            self._send(connection, now)\n",
        "        if not connection.unconfirmed and self._window.sent >= self._outbox._own.place(0):\n"
        "            sent = self._window.sent & ((1 << 40) - 1)\n"
        "            if (span := self._outbox.acknowledge(self._outbox.boot, sent)) is not None:\n"
        "                self._window.acknowledge(*span, now)\n"
        "        if connection.listening:\n            self._send(connection, now)\n",
    ),
)
DELETES_MORE_THAN_IS_ACKNOWLEDGED = (
    Patch(
        "agent/link/outbox.py",
        '                file.execute("DELETE FROM items WHERE place BETWEEN ? AND ?", span)\n',
        '                file.execute("DELETE FROM items WHERE place BETWEEN ? AND ? + 1", span)\n',
    ),
)
TAKES_WHAT_IT_HAS = (
    Patch(
        "edge/telemetry/sequence.py",
        "            duplicates += 1\n",
        "            taken.append(position)\n",
    ),
    Patch(
        "edge/telemetry/schema.py",
        "CREATE UNIQUE INDEX samples_of_stream",
        "CREATE INDEX samples_of_stream",
    ),
)

SEEDS = ("1", "2", "3", "4")
"""Of the plans with these, one at least lets a fault do its harm: whether a cut falls into the moment that the fault
needs is up to the machine."""


def harm(counted: str, patches: tuple[Patch, ...], folder: Path) -> int:
    """How many samples were lost or duplicated by code with faults, in the first run that has any; each run must report
    what it counts by its exit code."""
    code = copy_of_the_code(folder / "code", patches)
    for seed in SEEDS:
        status, told = chaos("--seed", seed, *RUN, temporary=folder, code=code)
        found = int(told["counted"][counted])
        assert (status == 3) == any(told["counted"][name] > 0 for name in ("lost", "duplicated"))
        if found:
            return found
    return 0


@pytest.mark.bed
def test_a_collector_that_acknowledges_before_it_commits_loses(tmp_path: Path) -> None:
    assert harm("lost", ACKNOWLEDGES_BEFORE_IT_COMMITS, tmp_path) > 0


@pytest.mark.bed
def test_an_agent_that_deletes_what_the_broker_has_loses(tmp_path: Path) -> None:
    assert harm("lost", DELETES_WHEN_THE_BROKER_HAS_IT, tmp_path) > 0


@pytest.mark.bed
def test_an_agent_that_deletes_more_than_is_acknowledged_loses(tmp_path: Path) -> None:
    assert harm("lost", DELETES_MORE_THAN_IS_ACKNOWLEDGED, tmp_path) > 0


@pytest.mark.bed
def test_a_collector_that_takes_what_it_has_stores_twice(tmp_path: Path) -> None:
    assert harm("duplicated", TAKES_WHAT_IT_HAS, tmp_path) > 0
