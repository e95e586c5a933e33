"""The moments of the power cuts, and what a board's words say of the phase that it is in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.journeys.power_cuts.phases import Kind, Span, draw, phase, spans, until_refused

SPANS = [
    Span("upload", 0.0, 4.0),
    Span("verify", 4.0, 20.0),
    Span("stage", 20.0, 21.0),
    Span("check", 21.0, 60.0),
    Span("switch", 60.0, 90.0),
    Span("probation", 90.0, 98.0),
    Span("end", 98.0, 102.0),
]
MEASURED = {Kind.MODEL: SPANS, Kind.RUNTIME: SPANS, Kind.REFUSED: until_refused(SPANS)}


def said(**changed: Any) -> dict[str, Any]:
    return {
        "counter": 4, "state": "confirmed", "attempts": 0, "current": 4, "trial": 0, "serving": 4, "called": False,
        "resume": False, "temporaries": [], **changed,
    }  # fmt: skip


def test_twenty_moments_fall_into_every_phase_and_are_the_same_for_the_same_seed() -> None:
    cuts = draw(20, 4, MEASURED)
    assert len(cuts) == 20
    assert {cut.aimed_at for cut in cuts} >= {span.phase for span in SPANS}
    for cut in cuts:
        assert any(
            span.phase == cut.aimed_at and span.begun_s <= cut.moment_s <= span.ended_s
            for span in MEASURED[cut.kind]
        )
    assert cuts == draw(20, 4, MEASURED)
    assert cuts != draw(20, 5, MEASURED)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (said(), "upload"),
        (said(called=True), "verify"),
        (said(called=True, state="finalised", temporaries=["-objects"]), "reclaim"),
        (said(called=True, temporaries=["+objects"]), "stage"),
        (said(called=True, counter=5, state="checking"), "check"),
        (said(called=True, counter=5, state="probation", trial=5), "switch"),
        (said(called=True, counter=5, state="probation", trial=5, serving=5), "probation"),
        (said(called=True, counter=5, current=5), "end"),
        (said(counter=5, state="refused", resume=True, temporaries=["-generations"]), "reclaim"),
        (said(counter=5, current=5), "after"),
    ],
)
def test_what_a_board_says_of_itself_tells_the_phase(seen: dict[str, Any], expected: str) -> None:
    assert phase(seen, 5) == expected


def test_phases_follow_each_other_without_gaps_from_the_first_byte() -> None:
    heard = [(90.0, said()), (104.0, said(called=True)), (105.0, said(called=True, resume=True)),
             (130.0, said(called=True, counter=5, state="checking"))]  # fmt: skip
    found = spans(heard, 5, begun_at=100.0, ended_at=140.0)
    assert [(one.phase, one.begun_s, one.ended_s) for one in found] == [
        ("upload", 0.0, 4.0),
        ("verify", 4.0, 30.0),
        ("check", 30.0, 44.0),
    ]
