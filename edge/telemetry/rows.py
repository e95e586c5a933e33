"""Samples and events row by row, for people and for export.

The rule: rows are read some hundred at a time, each time anew, so that who reads for an hour neither needs memory nor
keeps the writer from tidying up. The order is that of arrival.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from edge.telemetry import schema
from edge.telemetry.body import unpack
from edge.telemetry.clock import FUTURE_S
from edge.telemetry.records import StoredEvent, StoredSample
from edge.telemetry.store import Store

CHUNK = 500
_COMMON = "r.id, s.device, s.boot, r.seq, r.at, r.rx"
_SAMPLE = "r.wall, r.monotonic, r.body"
_FROM = "FROM {table} r CROSS JOIN streams s ON s.id = r.stream"

Stored = TypeVar("Stored")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which rows.

    Attributes:
        device: of this one alone, by id. since, until: measured from then on, and before then, seconds since 1970.
        after: rows behind this position. limit: the newest so many alone.
    """

    device: str | None = None
    since: float | None = None
    until: float | None = None
    after: int = 0
    limit: int | None = None


def samples(store: Store, choice: Choice) -> Iterator[StoredSample]:
    """Samples in the order of arrival."""
    return _rows(store, choice, "samples", _SAMPLE, _sample)


def samples_at(store: Store, positions: Iterable[int]) -> tuple[StoredSample, ...]:
    """Samples by their positions."""
    query = f"SELECT {_COMMON}, {_SAMPLE} {_FROM.format(table='samples')} WHERE r.id = ?"
    return tuple(_sample(*row) for position in positions for row in _fetch(store, query, (position,)))


def events(store: Store, choice: Choice) -> Iterator[StoredEvent]:
    """Events in the order of arrival; `after` is a position among events."""
    return _rows(store, choice, "events", "r.kind, r.code, r.message, r.facts", _event)


def _sample(
    position: int,
    device: str,
    boot: str,
    seq: int,
    at: float,
    rx: float,
    wall: float,
    monotonic: float,
    body: bytes,
) -> StoredSample:
    board, models = unpack(body)
    return StoredSample(
        position=position, device=device, boot=boot, seq=seq, at=at, rx=rx, wall=wall, monotonic=monotonic,
        board=board, models=models,
    )  # fmt: skip


def _event(
    position: int,
    device: str,
    boot: str,
    seq: int,
    at: float,
    rx: float,
    kind: str,
    code: str,
    message: str,
    facts: str,
) -> StoredEvent:
    return StoredEvent(
        position=position, device=device, boot=boot, seq=seq, at=at, rx=rx, kind=kind, code=code, message=message,
        facts=json.loads(facts),
    )  # fmt: skip


def _rows(
    store: Store, choice: Choice, table: str, columns: str, make: Callable[..., Stored]
) -> Iterator[Stored]:
    select = f"SELECT {_COMMON}, {columns} {_FROM.format(table=table)}"
    condition, values = _condition(choice)
    if choice.limit is not None:
        query = f"{select} WHERE r.id > ? {condition} ORDER BY r.id DESC LIMIT ?"
        for row in reversed(_fetch(store, query, (choice.after, *values, choice.limit))):
            yield make(*row)
        return
    query = f"{select} WHERE r.id > ? {condition} ORDER BY r.id LIMIT {CHUNK}"
    position: int = max(choice.after, _start(store, choice, table))
    while found := _fetch(store, query, (position, *values)):
        for row in found:
            yield make(*row)
        position = found[-1][0]


def _condition(choice: Choice) -> tuple[str, tuple[Any, ...]]:
    """SQL that goes on after a first condition, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    if choice.device is not None:
        parts.append("AND r.stream IN (SELECT id FROM streams WHERE device = ?)")
        values.append(choice.device)
    if choice.since is not None:
        parts.append("AND r.at >= ?")
        values.append(choice.since)
    if choice.until is not None:
        parts.append("AND r.at < ?")
        values.append(choice.until)
    return " ".join(parts), tuple(values)


def _start(store: Store, choice: Choice, table: str) -> int:
    """A position before the first row that came at `since`, by halving: rows lie in the order of arrival."""
    if choice.since is None:
        return 0
    low, high = 0, _fetch(store, f"SELECT coalesce(max(id), 0) FROM {table}", ())[0][0]
    while low < high:
        middle = (low + high) // 2
        row = _fetch(store, f"SELECT id, rx FROM {table} WHERE id > ? ORDER BY id LIMIT 1", (middle,))
        if row and row[0][1] < choice.since - FUTURE_S:
            low = row[0][0]
        else:
            high = middle
    return low


def _fetch(store: Store, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with schema.told(store.path):
        return store.connection.execute(query, values).fetchall()
