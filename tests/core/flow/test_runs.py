"""Runs are followed from their rows: nothing that a row said last is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from siyu.contract.errors import NotFound
from siyu.flow.context import Context
from siyu.flow.refresh import refresh
from siyu.flow.runs import Running, follow
from siyu.store import signals
from siyu.store.models import Brand, Run
from siyu.store.signals import Signals

AT = datetime(2026, 1, 1, tzinfo=UTC)
Rows = AsyncGenerator[Mapping[str, Any]]


async def begun(brand: Brand, kind: str = "refresh", status: str = "running") -> Run:
    return await Run.create(brand_id=brand.id, kind=kind, at=AT, status=status)


async def soon(rows: Rows) -> tuple[str, str]:
    async with asyncio.timeout(5):
        row = await anext(rows)
    return row["phase"], row["status"]


async def to_its_end(rows: Rows) -> list[Mapping[str, Any]]:
    async with asyncio.timeout(20):
        return [row async for row in rows]


async def test_a_run_is_told_as_it_stands_then_as_it_changes_until_it_ends(ctx: Context, brand: Brand) -> None:
    run = Running(await begun(brand), ctx.db.signals)
    await run.phase("events", 0.1)
    async with aclosing(follow(ctx, brand.id, run.row.id)) as rows:
        assert await soon(rows) == ("events", "running")
        await run.phase("facts", 0.2)
        assert await soon(rows) == ("facts", "running")
        await begun(brand, "import")  # another's changes are not this one's
        await run.finish("done")
        assert await soon(rows) == ("", "done")
        assert await to_its_end(rows) == []


async def test_a_run_that_has_ended_is_told_once(ctx: Context, brand: Brand) -> None:
    run = await begun(brand, status="failed")
    assert [row["status"] for row in await to_its_end(follow(ctx, brand.id, run.id))] == ["failed"]


async def test_a_follower_who_is_slow_gets_the_newest_and_not_all(ctx: Context, brand: Brand) -> None:
    run = Running(await begun(brand), ctx.db.signals)
    async with aclosing(follow(ctx, brand.id, run.row.id)) as rows:
        await soon(rows)
        for number in range(50):
            await run.phase(f"phase {number}", number / 50)
        assert await soon(rows) == ("phase 49", "running")


async def test_without_a_run_the_refresh_under_way_is_followed_or_the_next(ctx: Context, brand: Brand) -> None:
    await begun(brand, status="done")
    await begun(brand, "import")
    other = await Brand.create(slug="other", name="Other", replayed_to=AT)
    await begun(other)
    rows = follow(ctx, brand.id)
    waiting = asyncio.create_task(to_its_end(rows))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await refresh(ctx, brand.id)
    told = await waiting
    assert {row["kind"] for row in told} == {"refresh"}
    assert (told[-1]["status"], told[-1]["progress"]) == ("done", 1.0)


async def test_a_run_of_another_brand_is_none(ctx: Context, brand: Brand) -> None:
    run = await begun(brand)
    other = await Brand.create(slug="other", name="Other")
    with pytest.raises(NotFound, match="no such run"):
        await anext(follow(ctx, other.id, run.id))


async def test_who_is_told_nothing_looks_by_themselves(
    ctx: Context, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.05)
    monkeypatch.setattr(signals, "POLL", 0.05)
    monkeypatch.setattr(Signals, "_set", lambda *_: None)
    run = Running(await begun(brand), ctx.db.signals)
    async with aclosing(follow(ctx, brand.id, run.row.id)) as rows:
        assert await soon(rows) == ("", "running")
        await run.phase("facts", 0.2)
        assert await soon(rows) == ("facts", "running")
