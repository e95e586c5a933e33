"""Questions to the store. SQL stands in this package alone; answers are of `edge.telemetry.records`.

The rule: a question is answered from one moment of the store (a read transaction), by differences of cumulative
counters, and never by reading more rows than it is about.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.contract.codec import decode
from agent.contract.messages import Birth, Presence, PresenceMessage, Reported, Signed
from edge.telemetry import rows, schema, search
from edge.telemetry.differences import Span, board_window, model_windows
from edge.telemetry.records import (
    BoardNow,
    LinkState,
    Missing,
    ModelWindow,
    RefusedMessages,
    StoredEvent,
    StoredSample,
    StreamState,
)
from edge.telemetry.rows import Choice
from edge.telemetry.store import Store

STALE_INTERVALS = 3
"""A board that is behind by so many of its own intervals (and by the span) has no rates any more."""


class _Stream(NamedTuple):
    """A row of `streams`."""

    id: int
    device: str
    boot: str
    high_water: int
    samples: int
    events: int
    gaps: int
    breaks: int
    newest: int | None
    newest_at: float | None
    heard: float
    pruned: int


_STREAMS = f"SELECT {', '.join(_Stream._fields)} FROM streams"


def position(store: Store) -> int:
    """A mark that only grows: the number of the newest sample's row, 0 without any."""
    with _reading(store):
        (newest,) = store.connection.execute("SELECT coalesce(max(id), 0) FROM samples").fetchone()
    return int(newest)


def event_position(store: Store) -> int:
    """The same among events."""
    with _reading(store):
        (newest,) = store.connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(newest)


def windows(store: Store, *, device: str, after: int, until: int | None = None) -> tuple[ModelWindow, ...]:
    """What each model and release of a board did in the samples that came after a position.

    Args:
        store: open.
        device: id.
        after: a `position`; the newest sample of each boot up to it is what is subtracted.
        until: a later `position`; None for now.
    """
    with _reading(store):
        return model_windows(device, _spans_by_position(store, device, after, until))


def fleet_now(
    store: Store, *, span_s: float = 10.0, now: float | None = None, devices: Sequence[str] | None = None
) -> tuple[BoardNow, ...]:
    """Boards as they are now, by id.

    Args:
        store: open.
        span_s: what rates are taken over: the newest sample and one that is this much older, in seconds. A board that
            is silent for longer, and for longer than three of its intervals, has no rates.
        now: seconds since 1970; None for this machine's clock.
        devices: ids of the boards that are asked for, heard of or not; None for all that were ever heard of.
    """
    now = time.time() if now is None else now
    with _reading(store):
        asked = list(_all_devices(store) if devices is None else devices)
        return tuple(_board_now(store, device, span_s, now) for device in sorted(asked))


def streams(store: Store, *, device: str | None = None) -> tuple[StreamState, ...]:
    """The streams of numbers, in the order in which they were first heard of."""
    with _reading(store):
        return tuple(
            StreamState(
                device=stream.device, boot=stream.boot, high_water=stream.high_water, samples=stream.samples,
                events=stream.events, gaps=stream.gaps, breaks=stream.breaks,
            )
            for stream in _streams(store, device)
        )  # fmt: skip


def missing(store: Store, *, device: str | None = None) -> tuple[Missing, ...]:
    """The numbers that are not stored, and why, in the order of streams and numbers."""
    with _reading(store):
        rows = store.connection.execute(
            "SELECT s.device, s.boot, m.first, m.last, m.kind, m.rx FROM missing m JOIN streams s ON s.id = m.stream"
            " WHERE ? IS NULL OR s.device = ? ORDER BY m.stream, m.first",
            (device, device),
        )
        return tuple(
            Missing(device=owner, boot=boot, first=first, last=last, kind=kind, rx=rx)
            for owner, boot, first, last, kind, rx in rows
        )


def samples(
    store: Store,
    *,
    device: str | None = None,
    since: float | None = None,
    until: float | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[StoredSample]:
    """Samples in the order of their arrival, read as they are asked for.

    Args:
        store: open.
        device: of this one alone, by id.
        since: measured at or later, seconds since 1970.
        until: measured before.
        after: a `position`; only what came later.
        limit: the newest so many alone.
    """
    return rows.samples(store, Choice(device=device, since=since, until=until, after=after, limit=limit))


def events(
    store: Store,
    *,
    device: str | None = None,
    since: float | None = None,
    until: float | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[StoredEvent]:
    """Events in the order of their arrival; arguments as of `samples`, `after` is the position of an event."""
    return rows.events(store, Choice(device=device, since=since, until=until, after=after, limit=limit))


def newest_samples(store: Store) -> tuple[StoredSample, ...]:
    """The newest sample of each board."""
    with _reading(store):
        newest = store.connection.execute(
            "SELECT max(newest) FROM streams WHERE newest IS NOT NULL GROUP BY device"
        )
        return rows.samples_at(store, [position for (position,) in newest])


def report(store: Store, device: str) -> Reported | None:
    """The newest verified report of a board, or None without any."""
    with _reading(store):
        row = store.connection.execute("SELECT report FROM boards WHERE device = ?", (device,)).fetchone()
    return _opened(row[0]) if row else None


def refused(store: Store) -> tuple[RefusedMessages, ...]:
    """Messages that were not taken, counted by device and by the code of what was wrong."""
    with _reading(store):
        rows = store.connection.execute(
            "SELECT device, code, count, message, rx FROM refused ORDER BY device, code"
        )
        return tuple(
            RefusedMessages(device=device or None, code=code, count=count, message=message, rx=rx)
            for device, code, count, message, rx in rows
        )


def _board_now(store: Store, device: str, span_s: float, now: float) -> BoardNow:
    owned = _streams(store, device)
    birth_text, presence_text, heard, report_text = store.connection.execute(
        "SELECT birth, presence, heard, report FROM boards WHERE device = ?", (device,)
    ).fetchone() or (None, None, None, None)
    birth = decode(Birth, birth_text.encode()) if birth_text else None
    spans = _spans_by_time(store, owned, span_s)
    fresh = _fresh(owned, spans, span_s, now)
    times = [stream.heard for stream in owned] + ([] if heard is None else [heard])
    return BoardNow(
        device=device,
        presence=_presence(birth, presence_text),
        boot=birth.boot if birth else (owned[-1].boot if owned else None),
        agent_version=birth.agent_version if birth else None,
        profile=birth.profile if birth else None,
        models=birth.models if birth else (),
        last_seen=max(times, default=None),
        window=board_window(spans if fresh else spans[-1:], rates=fresh),
        rates=model_windows(device, spans) if fresh else (),
        gaps=sum(stream.gaps for stream in owned),
        breaks=sum(stream.breaks for stream in owned),
        link=_link(store, device),
        reported=_opened(report_text),
    )


def _fresh(owned: Sequence[_Stream], spans: Sequence[Span], span_s: float, now: float) -> bool:
    """Whether the newest sample still says what the board does now."""
    newest_at = max((stream.newest_at for stream in owned if stream.newest_at is not None), default=None)
    if newest_at is None or not spans:
        return False
    interval_s = spans[-1].seconds / max(1, spans[-1].steps)
    return now - newest_at <= max(span_s, STALE_INTERVALS * interval_s)


def _presence(birth: Birth | None, presence_text: str | None) -> Presence:
    if presence_text is not None:
        return decode(PresenceMessage, presence_text.encode()).presence
    return Presence.ONLINE if birth is not None else Presence.UNKNOWN


def _link(store: Store, device: str) -> LinkState | None:
    row = store.connection.execute(
        "SELECT tunnel, reason, silent_s, backlog FROM links WHERE device = ?", (device,)
    ).fetchone()
    if row is None:
        return None
    tunnel, reason, silent_s, backlog = row
    return LinkState(tunnel=tunnel, reason=reason, silent_s=silent_s, backlog=bool(backlog))


def _opened(report_text: str | None) -> Reported | None:
    """What is in an envelope that was verified before it was stored."""
    if report_text is None:
        return None
    return decode(Reported, decode(Signed, report_text.encode()).payload.encode())


def _spans_by_position(store: Store, device: str, after: int, until: int | None) -> list[Span]:
    spans = []
    for stream in _streams(store, device):
        if stream.newest is None or stream.newest <= after:
            continue
        end = (
            search.newest(store.connection, stream.id)
            if until is None
            else search.newest_upto(store.connection, stream.id, "id", until)
        )
        if end is not None and end.id > after:
            begin = search.newest_upto(store.connection, stream.id, "id", after)
            spans.append(_span(store, stream, begin, end))
    return spans


def _spans_by_time(store: Store, owned: Sequence[_Stream], span_s: float) -> list[Span]:
    """The newest `span_s` seconds that the board's samples cover, boot by boot."""
    started = [stream for stream in owned if stream.newest_at is not None]
    since = max((stream.newest_at or 0.0 for stream in started), default=0.0) - span_s
    spans = []
    for stream in started:
        if (stream.newest_at or 0.0) > since:
            end = search.newest(store.connection, stream.id)
            begin = search.newest_upto(store.connection, stream.id, "at", since)
            if end is not None:
                spans.append(_span(store, stream, begin, end))
    return spans


def _span(store: Store, stream: _Stream, begin: search.Row | None, end: search.Row) -> Span:
    """From `begin`, or from the first row: that counts from zero where the store has the boot from its start."""
    fresh = begin is None and stream.pruned == 0 and stream.breaks == 0
    if begin is None:
        begin = search.oldest(store.connection, stream.id) or end
    last = end.reading()
    first = last if begin.id == end.id else begin.reading()
    return Span(begin=first, end=last, fresh=fresh, steps=end.seq - begin.seq)


def _streams(store: Store, device: str | None) -> list[_Stream]:
    if device is None:
        found = store.connection.execute(f"{_STREAMS} ORDER BY id")
    else:
        found = store.connection.execute(f"{_STREAMS} WHERE device = ? ORDER BY id", (device,))
    return [_Stream(*row) for row in found]


def _all_devices(store: Store) -> list[str]:
    found = store.connection.execute("SELECT device FROM streams UNION SELECT device FROM boards")
    return [device for (device,) in found]


@contextlib.contextmanager
def _reading(store: Store) -> Iterator[None]:
    """One moment of the store, whatever is written meanwhile."""
    with schema.told(store.path):
        if store.connection.in_transaction:
            yield
            return
        store.connection.execute("BEGIN")
        try:
            yield
        finally:
            store.connection.execute("COMMIT")
