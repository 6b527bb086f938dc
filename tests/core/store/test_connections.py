"""Connections go back to the pool as they came out of it, and no more of them are opened in a rush than are of use."""

from __future__ import annotations

import asyncio

from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.db import RECORDING, Lock
from siyu.store.models import Brand, Event

HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
HOLD = "SELECT pg_advisory_lock($1, 1)"


async def test_a_lock_that_a_session_still_holds_ends_with_its_use(ctx: Context) -> None:
    async with ctx.db.connection() as connection:
        await connection.execute(HOLD, Lock.REFRESH)
        assert await connection.fetchval(HELD) == 1
    async with ctx.db.connection() as connection:
        assert await connection.fetchval(HELD) == 0


async def test_it_ends_also_where_giving_it_back_is_broken_off(ctx: Context) -> None:
    begun = asyncio.Event()

    async def hold() -> None:
        async with ctx.db.connection() as connection:
            await connection.execute(HOLD, Lock.REFRESH)
            begun.set()
            await asyncio.sleep(60)

    for turns in range(8):
        begun.clear()
        holding = asyncio.create_task(hold())
        await begun.wait()
        holding.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        holding.cancel()  # whoever is in a hurry cancels again
        await asyncio.wait([holding])
        async with asyncio.timeout(5), ctx.db.connection() as connection:
            assert await connection.fetchval(HELD) == 0
            await connection.execute(HOLD, Lock.REFRESH)  # as no other session holds it


async def test_calls_that_record_at_once_share_a_few_connections(ctx: Context) -> None:
    brand = await Brand.create(slug="rush", name="Rush")
    events = [
        IncomingEvent(f"e{n}", "order.paid", {"member": f"{n % 7}"}, {"amount": 1}) for n in range(10 * RECORDING)
    ]
    await asyncio.gather(*(record(ctx, brand, [event]) for event in events))
    assert await Event.filter(brand_id=brand.id).count() == len(events)
    there = ctx.db.connections()
    assert there["used"] + there["idle"] <= RECORDING + 1
