"""Connections for what is read again and again: they cannot write, and nothing is asked of the server between two
statements.

Moments come from them as the text that JSON has for them. A page has hundreds, few of them different, so that most are
looked up and not made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

__all__ = ["Readers", "as_it_is"]

MOST = 10
STATEMENT_TIMEOUT = "10s"
PLAN_SECONDS = 30
"""For how long the server may keep how it answers a statement."""
MOST_MOMENTS = 50_000
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""What PostgreSQL counts microseconds from."""


class _Moments(dict[tuple[int], str]):
    """Moments as JSON, by the microseconds that the server sends."""

    def __missing__(self, key: tuple[int]) -> str:
        if len(self) >= MOST_MOMENTS:
            self.clear()
        text = self[key] = f'"{(EPOCH + timedelta(microseconds=key[0])).isoformat()}"'
        return text


class Readers:
    """A pool of such connections, opened when one is first wanted; ``credentials`` are asyncpg's."""

    def __init__(self, credentials: Mapping[str, Any]) -> None:
        self._credentials = credentials
        self._moments = _Moments()
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool."""
        if self._pool is None:
            await self._open()
        assert self._pool is not None
        async with self._pool.acquire() as connection:
            yield connection

    async def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def _open(self) -> None:
        async with self._opening:
            if self._pool is None:
                own = ("minsize", "maxsize", "reset")
                given = {name: value for name, value in self._credentials.items() if name not in own}
                given["server_settings"] = {
                    **given["server_settings"],
                    "default_transaction_read_only": "on",
                    # Planning is half the work of a page. A plan that was made for other sizes does not live long.
                    "plan_cache_mode": "auto",
                    "statement_timeout": STATEMENT_TIMEOUT,
                }
                self._pool = await asyncpg.create_pool(
                    **given,
                    min_size=1,
                    max_size=MOST,
                    max_cached_statement_lifetime=PLAN_SECONDS,
                    init=self._prepare,
                    reset=as_it_is,
                )

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(
            "timestamptz",
            schema="pg_catalog",
            format="tuple",
            encoder=_microseconds,
            decoder=self._moments.__getitem__,
        )


def _microseconds(moment: datetime) -> tuple[int]:
    return ((moment - EPOCH) // timedelta(microseconds=1),)


async def as_it_is(_: asyncpg.Connection) -> None:
    """Instead of asking the server to reset the session, where nothing is left in it."""
