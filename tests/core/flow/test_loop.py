"""The loop, step by step, on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on
from siyu.flow.refresh import refresh
from siyu.runtime import Addresses
from siyu.store.db import NAME
from siyu.store.models import Action, Brand, OutboxMessage, StageHistory, Tag, UserStage

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def order(key: str, member: str, day: int, amount: str = "10") -> IncomingEvent:
    return IncomingEvent(key, "order.paid", {"member": member}, {"amount": amount}, START + timedelta(days=day))


async def test_a_user_who_comes_back_is_welcomed_once(ctx: Context, brand: Brand) -> None:
    await plugins.enable(ctx, brand, "lifecycle")
    await record(ctx, brand, [order("a", "1", 0), order("b", "2", 40)])
    await brand.refresh_from_db()
    await refresh(ctx, brand.id)
    stages = UserStage.filter(brand_id=brand.id, track="lifecycle").order_by("user_id")
    assert [row.stage for row in await stages] == ["dormant", "growth"]

    await record(ctx, brand, [order("c", "1", 41)])
    decided = await decide_users(ctx, brand.id)
    assert (decided.users, decided.occasions) == (1, 1)
    assert (await carry_on(ctx, brand.id)).actions == 1
    assert await dispatch(ctx, brand.id) == 1
    assert await dispatch(ctx, brand.id) == 0
    assert [action.status for action in await Action.all()] == ["sent"]
    assert await OutboxMessage.all().count() == 1
    [was] = await StageHistory.filter(track="lifecycle")
    assert (was.stage, was.until) == ("dormant", START + timedelta(days=41))


async def test_the_same_events_twice_change_nothing(ctx: Context, brand: Brand) -> None:
    await plugins.enable(ctx, brand, "rfm")
    events = [order(f"e{number}", str(number % 7), number) for number in range(50)]
    first = await record(ctx, brand, events)
    await refresh(ctx, brand.id)
    before = await Tag.all().order_by("key").values("key", "users")
    again = await record(ctx, brand, events)
    assert (first.new, again.new, again.duplicate) == (50, 0, 50)
    assert (await decide_users(ctx, brand.id)).users == 0
    assert (await refresh(ctx, brand.id)).changes == 0
    assert await Tag.all().order_by("key").values("key", "users") == before


async def test_looking_back_leaves_later_users_as_they_are(ctx: Context, brand: Brand) -> None:
    await plugins.enable(ctx, brand, "lifecycle")
    await record(ctx, brand, [order("a", "1", 0), order("b", "2", 40)])
    await refresh(ctx, brand.id, at=START + timedelta(days=50))
    await refresh(ctx, brand.id, at=START + timedelta(days=10))
    done = await refresh(ctx, brand.id, at=START + timedelta(days=50))
    assert done.users == 2
    assert await UserStage.filter(brand_id=brand.id, track="lifecycle").count() == 2


async def test_databases_that_share_a_home_share_no_files(ctx: Context, addresses: Addresses, template: str) -> None:
    admin = await asyncpg.connect(addresses.database_url)
    await admin.execute(f"CREATE DATABASE restored TEMPLATE {template}")
    restored = await asyncpg.connect(addresses.database_url.replace("/siyu?", "/restored?"))
    assert await restored.fetchval(NAME) != ctx.home.name == await ctx.db.name()
    await restored.close()
    await admin.execute("DROP DATABASE restored")
    await admin.close()
