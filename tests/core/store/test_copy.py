"""What is read by COPY may be given up at any moment."""

from __future__ import annotations

import asyncio
import time

import polars as pl
import pytest
from siyu.flow.context import Context
from siyu.store import db
from siyu.store.db import copy_in, copy_out

SCHEMA = {"i": pl.Int64()}


@pytest.mark.parametrize("rows", [1, 20_000])
async def test_a_connection_can_be_used_after_a_copy_that_was_given_up(ctx: Context, rows: int) -> None:
    given_up = 0
    for turns in range(150):
        async with ctx.db.connection() as connection:
            sql = "SELECT i FROM generate_series(1, $1::int) AS i"
            reading = asyncio.create_task(copy_out(connection, sql, rows, schema=SCHEMA))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            given_up += reading.cancelled()
            asked = asyncio.create_task(connection.fetchval("SELECT 1"))
            if not (await asyncio.wait([asked], timeout=5))[0]:
                connection.terminate()
                pytest.fail(f"after {turns} turns of the loop it is waited for without end")
            assert asked.result() == 1
    assert given_up


async def test_what_is_written_by_copy_is_written_whole_or_not_at_all(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "PIECE", 7)
    frame = pl.DataFrame({"i": range(50)})
    lengths: set[int] = set()
    async with ctx.db.connection() as connection:
        await connection.execute("CREATE TEMPORARY TABLE written (i bigint)")
        for turns in range(60):
            writing = asyncio.create_task(copy_in(connection, "written", frame))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            writing.cancel()
            await asyncio.wait([writing])
            lengths.add(await asyncio.wait_for(connection.fetchval("SELECT count(*) FROM written"), 5))
            await connection.execute("TRUNCATE written")
    assert lengths == {0, 50}


async def test_one_that_does_not_end_is_given_up_with_its_connection(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "END_SECONDS", 0.2)
    began = time.monotonic()
    async with ctx.db.connection() as connection:
        reading = asyncio.create_task(copy_out(connection, "SELECT 1 FROM pg_sleep(60)", schema=SCHEMA))
        await asyncio.sleep(0.1)
        for _ in range(2):  # whoever is in a hurry cancels again
            reading.cancel()
            await asyncio.sleep(0.05)
        await asyncio.wait([reading])
        assert reading.cancelled()
    assert time.monotonic() - began < 10
    async with ctx.db.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
