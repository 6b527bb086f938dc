"""Connections that only read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from siyu.flow.context import Context

MOMENTS = [
    datetime(2026, 6, 1, 12, tzinfo=UTC),
    datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=1),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


async def test_moments_come_as_json(ctx: Context) -> None:
    async with ctx.db.reading() as connection:
        for moment in MOMENTS:
            text = await connection.fetchval("SELECT $1::timestamptz", moment)
            assert json.loads(text) == moment.isoformat()
        [texts] = await connection.fetchrow("SELECT $1::timestamptz[]", MOMENTS)
        assert [json.loads(text) for text in texts] == [moment.isoformat() for moment in MOMENTS]
        assert await connection.fetchval("SELECT null::timestamptz") is None


async def test_they_cannot_write(ctx: Context) -> None:
    async with ctx.db.reading() as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM brand")


async def test_a_connection_that_was_lost_is_made_anew(ctx: Context) -> None:
    async with ctx.db.reading() as connection:
        pid = connection.get_server_pid()
    async with ctx.db.connection() as other:
        await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    async with ctx.db.reading() as connection:
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_pid() != pid
