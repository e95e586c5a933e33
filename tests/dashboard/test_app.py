from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from agent.contract.errors import EdgeError
from edge.dashboard.app import WatchApp
from edge.dashboard.board_screen import BoardScreen
from edge.dashboard.help_screen import HelpScreen
from edge.dashboard.source import Source
from edge.dashboard.table import BoardTable
from edge.telemetry.records import LinkState
from edge.telemetry.store import Store
from tests.dashboard.fleet import Fleet

SMALL, LARGE = (80, 24), (120, 40)
CUT = LinkState(tunnel="down", reason="no route to 192.0.2.7", silent_s=0, backlog=False)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """`sim-3` fails, `sim-2` can't be reached, `sim-1` is the slowest, `spare` was not flashed."""
    fleet = Fleet(tmp_path / "f", [f"sim-{n}" for n in range(1, 5)], interval_s=10.0)
    fleet.add("spare", enrolled=False)
    return fleet


@pytest.fixture
def store(fleet: Fleet) -> Iterator[Store]:
    with fleet.writer() as store:
        fleet.report(store, "sim-1", latency_ms=40.0, release="digits@4")
        fleet.report(store, "sim-2", link=CUT)
        fleet.report(store, "sim-3", failed=5)
        fleet.report(store, "sim-4", per_s=40)
        yield store


@asynccontextmanager
async def watching(
    fleet: Fleet, size: tuple[int, int] = SMALL, *, interval_s: float = 0.1
) -> AsyncIterator[tuple[WatchApp, Pilot[EdgeError]]]:
    with Source(fleet.folder) as source:
        app = WatchApp(source, interval_s=interval_s)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: len(names(app)) == 5)
            yield app, pilot


def table(app: WatchApp) -> BoardTable:
    return app.screen_stack[0].query_one(BoardTable)


def names(app: WatchApp) -> list[str]:
    return [row.name for row in table(app).shown]


def screen_text(app: WatchApp) -> list[str]:
    """The screen as lines of text, as the terminal gets it."""
    width, height = app.size
    lines = app.screen._compositor.render_strips(app.size)
    assert len(lines) == height
    assert all(line.cell_length == width for line in lines)
    return [line.text.rstrip() for line in lines]


async def until(pilot: Pilot[EdgeError], what: Callable[[], bool]) -> None:
    for _ in range(200):
        if what():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not get there:\n" + "\n".join(screen_text(pilot.app)))  # type: ignore[arg-type]


def run(coroutine: Awaitable[None]) -> None:
    async def main() -> None:
        await coroutine

    asyncio.run(main())


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_who_is_bad_stands_first_with_sign_and_word(
    fleet: Fleet, store: Store, size: tuple[int, int]
) -> None:
    async def go() -> None:
        async with watching(fleet, size) as (app, _):
            summary, head, *boards = screen_text(app)
            assert summary.startswith(" 5 boards: ✗ 1 bad, ? 1 in doubt, · 1 other, ✓ 2 ok")
            assert head.split()[:2] == ["board", "state"]
            assert [line.split()[:3] for line in boards[:5]] == [
                ["sim-3", "✗", "failing"],
                ["sim-2", "?", "unreachable"],
                ["spare", "·", "not"],
                ["sim-1", "✓", "ok"],
                ["sim-4", "✓", "ok"],
            ]
            assert ("link" in head) == (size == LARGE)
            for title in ("release", "req/s", "p50 ms", "p95 ms", "err", "cpu", "mem", "°C", "seen"):
                assert title in head

    run(go())


def test_news_are_shown_and_the_cursor_stays_on_its_board(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            await pilot.press("end")
            assert table(app).chosen == "sim-4"
            fleet.report(store, "sim-4", failed=20, boot="f" * 16)
            await until(pilot, lambda: names(app)[:2] == ["sim-3", "sim-4"])
            assert table(app).chosen == "sim-4"

    run(go())


def test_keys_sort_by_any_column_and_back_to_the_worst_first(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            worst_first = names(app)
            for _ in range(4):
                await pilot.press("s")
            assert table(app).sort_key == "rate"
            assert names(app)[0] == "sim-4"
            assert "req/s↓" in screen_text(app)[1]
            assert names(app)[-1] == "spare", "what is not known is last"
            await pilot.press("r")
            assert names(app)[-2:] == ["sim-4", "spare"]
            for _ in range(4):
                await pilot.press("S")
            assert (table(app).sort_key, names(app)) == (None, worst_first)

    run(go())


def test_a_click_on_a_head_sorts_and_again_the_other_way(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet, LARGE) as (app, pilot):
            x = screen_text(app)[1].index("p95 ms")
            await pilot.click(BoardTable, offset=(x + 1, 0))
            assert (table(app).sort_key, names(app)[0]) == ("p95", "sim-1")
            await pilot.click(BoardTable, offset=(x + 1, 0))
            assert names(app)[-2:] == ["sim-1", "spare"]

    run(go())


def test_a_filter_shows_boards_by_name_state_or_release_until_escape(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            await pilot.press("slash", *"digits@4")
            await until(pilot, lambda: names(app) == ["sim-1"])
            await pilot.press("enter")
            assert app.focused is table(app)
            await pilot.pause(0.3)
            assert names(app) == ["sim-1"], "news do not undo it"
            await pilot.press("escape")
            assert len(names(app)) == 5
            await pilot.press("slash", *"nobody")
            await until(pilot, lambda: names(app) == [])
            await pilot.press("enter", "down", "enter")
            assert len(app.screen_stack) == 1

    run(go())


def test_a_board_has_a_page_of_its_own(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            await pilot.press("enter")
            assert isinstance(app.screen, BoardScreen)
            await until(pilot, lambda: "Models" in "\n".join(screen_text(app)))
            text = "\n".join(screen_text(app))
            assert "sim-3  ✗ failing" in text
            assert "requests failed: engine.failed" in text
            assert "pi@192.0.2.7" in text
            await pilot.press("slash", "question_mark")
            assert isinstance(app.screen, HelpScreen)
            await pilot.press("escape", "escape")
            assert len(app.screen_stack) == 1
            await pilot.click(BoardTable, offset=(2, 2), times=2)
            await until(pilot, lambda: "sim-2  ? unreachable" in "\n".join(screen_text(app)))
            (fleet.folder.devices / "sim-2.json").unlink()
            await until(pilot, lambda: "not in this fleet any more" in "\n".join(screen_text(app)))

    run(go())


def test_help_tells_every_word_that_a_board_can_be_called(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            await pilot.press("question_mark")
            await pilot.pause()
            text = "\n".join(screen_text(app))
            for word in (
                "lost",
                "silent",
                "failing",
                "inconsistent",
                "unreachable",
                "unheard",
                "rolled back",
            ):
                assert word in text
            await pilot.press("question_mark")
            assert len(app.screen_stack) == 1

    run(go())


def test_a_store_that_is_not_there_yet_is_told_and_waited_for(fleet: Fleet) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            await until(pilot, lambda: "there is no telemetry yet" in screen_text(app)[1])
            with fleet.writer() as store:
                fleet.report(store, "sim-1")
                await until(pilot, lambda: "no telemetry" not in "\n".join(screen_text(app)))
            assert "✓ ok" in "\n".join(screen_text(app))

    run(go())


def test_a_damaged_inventory_ends_the_screen_with_the_error(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet) as (app, pilot):
            (fleet.folder.devices / "sim-9.json").write_text("{")
            await until(pilot, lambda: app.return_value is not None)
            assert "sim-9.json" in str(app.return_value)

    run(go())


def test_a_terminal_that_changes_its_size_keeps_whole_columns(fleet: Fleet, store: Store) -> None:
    async def go() -> None:
        async with watching(fleet, LARGE) as (app, pilot):
            for width in (100, 80, 60, 40, 30, 120):
                await pilot.resize_terminal(width, 24)
                await pilot.pause(0.05)
                lines = screen_text(app)
                assert "✗ failing" in "\n".join(lines), width
            assert "link" in lines[1]

    run(go())


def test_two_hundred_boards_are_drawn_as_far_as_they_are_seen(tmp_path: Path) -> None:
    many = Fleet(tmp_path / "m", [f"board-{n:03}" for n in range(200)])
    many.writer().close()

    async def go() -> None:
        with Source(many.folder) as source:
            app = WatchApp(source, interval_s=0.1)
            async with app.run_test(size=SMALL) as pilot:
                await until(pilot, lambda: len(names(app)) == 200)
                await pilot.press("end")
                await pilot.pause()
                text = screen_text(app)
                assert text[1].split()[0] == "board", "the heads stay"
                assert text[-2].split()[0] == "board-199"
                await pilot.press("pageup", "home")
                await pilot.pause()
                assert screen_text(app)[2].split()[0] == "board-000"

    run(go())
