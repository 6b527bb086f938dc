"""What a writer tells reaches whoever waits, also after Valkey was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from siyu.flow.context import Context
from siyu.runtime import Addresses, Servers, Settings
from siyu.store import signals
from siyu.store.signals import Signals


@pytest.fixture
async def valkey(addresses: Addresses) -> AsyncIterator[Any]:
    async with Redis.from_url(addresses.redis_url) as redis:
        yield redis


async def listeners(valkey: Any) -> int:
    return len(await valkey.client_list(_type="pubsub"))


async def comes(told: asyncio.Event, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        await told.wait()
    told.clear()


async def test_all_who_wait_for_a_topic_are_told_and_no_others(ctx: Context, valkey: Any) -> None:
    at = ctx.db.signals
    with at.of(1, "run") as one, at.of(1, "run") as two, at.of(2, "run") as brand, at.of(1, "action") as topic:
        for told in (one, two, brand, topic):
            await comes(told)  # once, as soon as somebody listens
        await at.tell(1, "run")
        await asyncio.gather(comes(one), comes(two))
        assert not brand.is_set()
        assert not topic.is_set()
        assert await listeners(valkey) == 1


async def test_those_of_another_database_are_not_told(ctx: Context, addresses: Addresses) -> None:
    other = Signals()
    other.open(addresses.redis_url, "another")
    with ctx.db.signals.of(1, "run") as told:
        await comes(told)
        await other.tell(1, "run")
        with pytest.raises(TimeoutError):
            await comes(told, 0.2)
    await other.close()


async def test_nobody_listens_when_nobody_waits(ctx: Context, valkey: Any) -> None:
    for _ in range(3):
        with ctx.db.signals.of(1, "run") as told:
            await comes(told)
            assert await listeners(valkey) == 1
        async with asyncio.timeout(5):
            while await listeners(valkey):  # noqa: ASYNC110 (the other side is a server)
                await asyncio.sleep(0.01)


async def test_who_waits_looks_again_after_the_connection_was_lost(
    ctx: Context, valkey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.05)
    with ctx.db.signals.of(1, "run") as told:
        await comes(told)
        await valkey.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await comes(told)  # at once, as nobody hears what is said meanwhile
        await comes(told)  # and when somebody listens again
        await ctx.db.signals.tell(1, "run")
        await comes(told)


async def test_a_valkey_that_is_away_stops_no_writer_and_is_waited_for(
    tmp_path: Path, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(signals, "POLL", 0.05)
    settings = Settings.from_env({"SIYU_HOME": str(tmp_path), "DATABASE_URL": "postgresql://nobody"})
    at = Signals()
    servers = Servers(settings)
    at.open((await asyncio.to_thread(servers.start)).redis_url, "test")
    with at.of(1, "run") as told:
        await comes(told)
        await asyncio.to_thread(servers.stop)
        await comes(told)
        began = asyncio.get_running_loop().time()
        for _ in range(100):
            await at.tell(1, "run")
        assert asyncio.get_running_loop().time() - began < 1
        await at.wait(told)  # goes on by itself
        assert not told.is_set()
        await asyncio.to_thread(servers.start)
        await comes(told)
        await asyncio.sleep(signals.RETRY_SECONDS)
        await at.tell(1, "run")
        await comes(told)
    await at.close()
    await asyncio.to_thread(servers.stop)
