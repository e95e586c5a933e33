"""What a board's report says to a person, in rows: the same on the board itself and on the laptop.

The rule: each row names one thing that a person asks (what runs, what was before, what was refused and why, what is
left), with the numbers; what needs somebody carries a sign of its own; nothing is said that the report does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.contract.messages import STALE_AFTER_S, CheckResult, HistoryEntry, Reported, TrustedRole
from agent.contract.states import UpdateState
from agent.contract.wording import DAY_S, ago, shown, size

EXPIRES_SOON_S = 30 * DAY_S
LOW_DISK_PART = 0.1
BAD = frozenset({UpdateState.REFUSED, UpdateState.ROLLED_BACK})
GOOD = frozenset({UpdateState.CONFIRMED, UpdateState.FINALISED})


@dataclass(frozen=True)
class Row:
    """A name, what is known of it, and a sign where it matters: `good`, `doubt`, `bad`, or nothing."""

    name: str
    text: str
    sign: str = ""


def rows(reported: Reported, now: int) -> dict[str, tuple[Row, ...]]:
    """All that the report says, by part: what runs, the last update, the board itself.

    Args:
        reported: the board's word.
        now: seconds since 1970, of whoever reads it.
    """
    return {
        "what runs": tuple(_runs(reported, now)),
        "last update": tuple(_update(reported, now)),
        "the board": tuple(_board(reported, now)),
    }


def _runs(reported: Reported, now: int) -> Iterator[Row]:
    current, previous = reported.current, reported.previous
    if current is None:
        yield Row("runs", "nothing yet", "doubt")
    else:
        yield Row("runs", f"{current.title} (generation {current.number})", "good")
        yield Row("since", ago(reported.since, now))
        yield Row("verified", reported.verified or "not known: the record of it was lost")
    if previous is not None:
        yield Row(
            "before",
            f"{previous.title} (generation {previous.number}), kept: `edge flash TARGET --previous` goes back to it",
        )
    elif current is not None:
        yield Row("before", "nothing is kept to go back to")


def _update(reported: Reported, now: int) -> Iterator[Row]:
    state = reported.state
    about = f", desired state {reported.counter}" if reported.counter else ""
    if reported.trial is not None:
        about += f": {reported.trial.title}"
    refused = reported.code is not None and state in GOOD
    sign = (
        "bad"
        if state is UpdateState.INCONSISTENT
        else "doubt"
        if state in BAD
        else "good"
        if state in GOOD
        else ""
    )
    yield Row("state", f"{state.value}{about}", sign)
    if reported.max_attempts:
        left = max(0, reported.max_attempts - reported.attempts)
        more = f", {left} left" if reported.in_progress else ""
        yield Row("attempts", f"{reported.attempts} of {reported.max_attempts}{more}")
    if reported.code:
        when = f", {ago(reported.code_at, now)}" if reported.code_at else ""
        name = "refused" if refused else "why"
        yield Row(name, f"{reported.message} [{reported.code}]{when}", "bad" if sign == "bad" else "doubt")
    if reported.hint:
        yield Row("do", reported.hint)
    for check in reported.checks:
        yield Row("measured", measured(check), "good" if check.passed else "bad")


def _board(reported: Reported, now: int) -> Iterator[Row]:
    yield _disk(reported)
    yield _clock(reported, now)
    yield from _contact(reported, now)
    if reported.trust:
        yield Row("keys", versions(reported.trust))
        yield _expiry(reported.trust, now)


def _disk(reported: Reported) -> Row:
    free, total = reported.disk_free_bytes, reported.disk_total_bytes
    text = f"{size(free)} free" + (f" of {size(total)}" if total else "")
    if reported.objects_bytes:
        text += f"; models and runtimes take {size(reported.objects_bytes)}"
    if reported.reclaimable_bytes:
        text += f", {size(reported.reclaimable_bytes)} of it only for going back or for nothing"
    return Row("disk", text, "doubt" if total and free < LOW_DISK_PART * total else "")


def _clock(reported: Reported, now: int) -> Row:
    kept = {True: "something keeps it right", False: "nothing keeps it right", None: ""}[
        reported.clock_synchronised
    ]
    parts = [f"said {shown(reported.wall)}", kept]
    if reported.clock_floor:
        parts.append(f"not before {shown(reported.clock_floor)} (signed)")
    if reported.clock_doubt:
        parts.append(reported.clock_doubt)
    return Row("clock", "; ".join(part for part in parts if part), "doubt" if reported.clock_doubt else "")


def _contact(reported: Reported, now: int) -> Iterator[Row]:
    """When it was last shown something newly signed."""
    if reported.contact is None:
        if reported.trust:
            yield Row("contact", "never shown anything newly signed", "doubt")
        return
    if reported.stale(now):
        days = STALE_AFTER_S // DAY_S
        text = f"stale: nothing newly signed for more than {days} days, last {ago(reported.contact, now)}"
        yield Row("contact", text, "doubt")
        yield Row(
            "do", "`edge device refresh` ends it; where it does not, somebody may be holding back the news"
        )
    else:
        yield Row("contact", f"shown something newly signed {ago(reported.contact, now)}")


def _expiry(trust: tuple[TrustedRole, ...], now: int) -> Row:
    first = min(trust, key=lambda role: role.expires)
    left_s = first.expires - now
    if left_s <= 0:
        text = f"`{first.role}` expired {shown(first.expires)}: serves on, and takes no update until it is signed anew"
        return Row("expiry", text, "bad")
    text = f"`{first.role}` first, on {shown(first.expires)} ({left_s // DAY_S} d left)"
    return Row("expiry", text, "doubt" if left_s < EXPIRES_SOON_S else "")


def versions(trust: tuple[TrustedRole, ...]) -> str:
    """`root 1, timestamp 12, …`: what the board verified of each role."""
    return ", ".join(f"{role.role} {role.version}" for role in trust)


def measured(check: CheckResult) -> str:
    """One trial's numbers in a line, each with what it was judged by."""
    parts = [f"{check.release}:"]
    if check.agreement is not None and check.floor is not None:
        parts.append(f"agrees {check.agreement:.1%} (at least {check.floor:.1%}),")
    if check.proof_within is not None:
        parts.append(f"like its proof run {check.proof_within:.1%},")
    if check.p95_ms is not None:
        budget = f" of {check.budget_p95_ms:.2f}" if check.budget_p95_ms is not None else ""
        parts.append(f"p95 {check.p95_ms:.2f}{budget} ms CPU,")
    if check.memory_mb is not None:
        budget = f" of {check.budget_memory_mb:.0f}" if check.budget_memory_mb is not None else ""
        parts.append(f"{check.memory_mb:.1f}{budget} MB")
    return " ".join(parts).rstrip(",")


def ended(entry: HistoryEntry, now: int) -> tuple[Row, ...]:
    """One end of the board's history."""
    sign = "good" if entry.state in GOOD else "bad" if entry.state is UpdateState.INCONSISTENT else "doubt"
    change = f"{entry.replaced or 'nothing'} → {entry.title}"
    found = [Row(f"#{entry.counter}", f"{entry.state.value}: {change}, {ago(entry.at, now)}", sign)]
    if entry.max_attempts:
        found.append(Row("attempts", f"{entry.attempts} of {entry.max_attempts}"))
    if entry.code:
        found.append(Row("why", f"{entry.message} [{entry.code}]"))
    if entry.hint:
        found.append(Row("do", entry.hint))
    found += [Row("measured", measured(check), "" if check.passed else "bad") for check in entry.checks]
    return tuple(found)
