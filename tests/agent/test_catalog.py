"""What is served while it changes: who asks to load or unload waits for his turn, and not too many do."""

from __future__ import annotations

import asyncio

import pytest

from agent.contract.errors import ModelNotServed, Overloaded
from agent.serving.catalog import WAITING_BOUND, Catalog


def test_who_asks_to_unload_waits_for_the_first_loading() -> None:
    async def ask() -> None:
        catalog = Catalog()
        asking = asyncio.create_task(catalog.unload("digits"))
        await asyncio.sleep(0.01)
        assert not asking.done()
        catalog.finish()
        await asking

    with pytest.raises(ModelNotServed):
        asyncio.run(ask())


def test_of_those_who_ask_to_load_and_go_away_no_more_are_kept_than_may_wait() -> None:
    async def ask() -> None:
        catalog = Catalog()
        catalog.finish()
        await catalog.changing.acquire()
        for _ in range(WAITING_BOUND):
            asking = asyncio.create_task(catalog.load("digits"))
            await asyncio.sleep(0)
            asking.cancel()
        await asyncio.sleep(0.01)
        await catalog.load("digits")

    with pytest.raises(Overloaded):
        asyncio.run(ask())
