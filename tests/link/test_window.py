"""How much is on its way, and when it is sent again."""

from __future__ import annotations

from agent.link.window import FIRST_CREDIT, LARGEST_CREDIT, LONGEST_PATIENCE_S, PATIENCE_S, Window


def sent(window: Window, *places: int, now: float = 0.0) -> Window:
    for place in places:
        window.send(place, now)
    return window


def test_no_more_is_sent_than_the_collector_lets() -> None:
    window = sent(Window(), *range(1, FIRST_CREDIT))
    assert window.open
    window.send(FIRST_CREDIT, 0.0)
    assert not window.open
    window.heard(2)
    window.acknowledge(1, FIRST_CREDIT - 1, 0.0)
    assert window.open
    window.send(FIRST_CREDIT + 1, 0.0)
    assert not window.open


def test_a_credit_of_nothing_lets_one_through_and_a_great_one_is_bounded() -> None:
    window = Window()
    window.heard(0)
    assert window.open
    assert not sent(window, 1).open
    window.heard(10_000)
    assert not sent(window, *range(2, LARGEST_CREDIT + 1)).open


def test_without_progress_all_is_sent_again_from_the_first_that_is_not_acknowledged() -> None:
    window = sent(Window(), 10, 20, 30)
    window.acknowledge(1, 10, now=1.0)
    assert not window.overdue(1.0 + PATIENCE_S - 0.1)
    assert window.overdue(1.0 + PATIENCE_S)
    window.again(asking=True)
    assert (window.sent, window.open) == (0, True)
    window.send(20, 3.0)
    assert not window.open, "one message asks"
    window.acknowledge(1, 20, 3.1)
    assert sent(window, 30, 40).open, "then all may follow"


def test_a_silent_collector_is_asked_at_growing_distances_until_it_speaks() -> None:
    window, now, waits = Window(), 0.0, []
    for _ in range(7):
        window.send(1, now)
        began = now
        while not window.overdue(now):
            now += 0.5
        waits.append(now - began)
        window.again(asking=True)
    assert waits[:3] == [PATIENCE_S, PATIENCE_S * 2, PATIENCE_S * 4]
    assert waits[-1] == LONGEST_PATIENCE_S
    window.heard(16)
    window.send(1, now)
    assert window.overdue(now + PATIENCE_S)


def test_an_acknowledgement_of_one_boot_leaves_what_is_on_its_way_of_another() -> None:
    boot = 1 << 40
    window = sent(Window(), boot + 5, 2 * boot + 1)
    window.acknowledge(2 * boot, 2 * boot + 1, 0.0)
    assert not window.empty
    window.acknowledge(boot, boot + 5, 0.0)
    assert window.empty
