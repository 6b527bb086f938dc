"""What a trigger tells reaches whoever waits, also after the connection that listens was lost."""

from __future__ import annotations

import asyncio

import pytest
from siyu.flow.context import Context
from siyu.store import signals

TOPIC = "run:1"
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN \"siyu\"'"


async def tell(ctx: Context, topic: str) -> None:
    async with ctx.db.connection() as connection:
        await connection.execute("SELECT pg_notify('siyu', $1)", topic)


async def listening(ctx: Context) -> list[int]:
    async with ctx.db.connection() as connection:
        return [row["pid"] for row in await connection.fetch(LISTENERS)]


async def comes(told: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await told.wait()
    told.clear()


async def test_all_who_wait_for_a_topic_are_told_and_no_others(ctx: Context) -> None:
    with ctx.db.signals.of(TOPIC) as one, ctx.db.signals.of(TOPIC) as two, ctx.db.signals.of("run:2") as other:
        for told in (one, two, other):
            await comes(told)  # once, as soon as somebody listens
        await tell(ctx, TOPIC)
        await asyncio.gather(comes(one), comes(two))
        assert not other.is_set()
        assert len(await listening(ctx)) == 1


async def test_nobody_listens_when_nobody_waits(ctx: Context) -> None:
    for _ in range(3):
        with ctx.db.signals.of(TOPIC) as told:
            await comes(told)
            assert len(await listening(ctx)) == 1
        async with asyncio.timeout(5):
            while await listening(ctx):  # noqa: ASYNC110 (the other side is a database)
                await asyncio.sleep(0.01)


async def test_who_waits_looks_again_after_the_connection_was_lost(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.05)
    with ctx.db.signals.of(TOPIC) as told:
        await comes(told)
        [pid] = await listening(ctx)
        async with ctx.db.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend($1)", pid)
        await comes(told)
        assert await listening(ctx) != [pid]
        await tell(ctx, TOPIC)
        await comes(told)


async def test_a_database_that_is_away_is_waited_for(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.01)
    connect, failures = ctx.db.connection, iter([OSError("no route"), OSError("no route")])

    def shaky() -> object:
        for failure in failures:
            raise failure
        return connect()

    monkeypatch.setattr(ctx.db.signals, "_connect", shaky)
    with ctx.db.signals.of(TOPIC) as told:
        await comes(told)
    assert [record.getMessage() for record in caplog.records].count(
        "cannot listen to the database (no route); trying again"
    ) == 2
