"""Every tag and stage knows the last run that looked at it, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from siyu.flow import plugins as settings
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.freshness import Freshness, of_stages, of_tags
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, Run, Stage, Tag

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def bought(ctx: Context, brand: Brand, *members: int, day: int) -> None:
    at = START + timedelta(days=day)
    orders = [IncomingEvent(f"{m}-{day}", "order.paid", {"member": str(m)}, {"amount": 10 + m}, at) for m in members]
    await record(ctx, brand, orders)


async def fresh(ctx: Context, brand: Brand) -> dict[str, Freshness]:
    """By the keys of tags and of the stages of the track lifecycle."""
    async with ctx.db.connection() as connection:
        tags, stages = await of_tags(connection, brand.id), await of_stages(connection, brand.id)
    return {
        **{row.key: tags[row.id] for row in await Tag.filter(brand_id=brand.id)},
        **{row.key: stages[row.id] for row in await Stage.filter(brand_id=brand.id, track="lifecycle")},
    }


async def standing(brand: Brand) -> dict[str, int]:
    return {row.key: row.users for row in await Stage.filter(brand_id=brand.id, track="lifecycle")}


async def test_a_run_is_known_by_what_it_looked_at_who_came_and_who_went(ctx: Context, brand: Brand) -> None:
    await settings.enable(ctx, brand, "lifecycle")
    await settings.enable(ctx, brand, "rfm")
    await bought(ctx, brand, *range(8), day=0)
    await refresh(ctx, brand.id)
    first, before = await fresh(ctx, brand), await standing(brand)
    run = await Run.get(kind="refresh")
    for key, users in before.items():
        assert (first[key].users, first[key].gained, first[key].lost) == (8, users, 0)
    assert {each.run_id for each in first.values()} == {run.id}
    assert [each.seconds for each in first.values()] == [pytest.approx(sum(run.seconds.values()))] * len(first)
    assert {each.as_of for each in first.values()} == {START}

    await bought(ctx, brand, 0, 1, 2, day=200)
    await refresh(ctx, brand.id)
    second, after = await fresh(ctx, brand), await standing(brand)
    assert {each.as_of for each in second.values()} == {START + timedelta(days=200)}
    assert second["lost"].gained == after["lost"] == 5
    for key, each in second.items():
        if key in after:
            assert after[key] == before[key] + each.gained - each.lost
            assert each.run_id != run.id
    assert sum(each.gained for key, each in second.items() if key in after) == 5, "growth stays growth"

    await refresh(ctx, brand.id)
    assert {(each.gained, each.lost) for each in (await fresh(ctx, brand)).values()} == {(0, 0)}


async def test_the_lag_is_to_the_moment_that_the_brand_lives_at(ctx: Context, brand: Brand) -> None:
    await settings.enable(ctx, brand, "lifecycle")
    await bought(ctx, brand, 1, day=0)
    await refresh(ctx, brand.id)
    assert {each.lag for each in (await fresh(ctx, brand)).values()} == {0}
    await bought(ctx, brand, 2, day=3)
    await decide_users(ctx, brand.id)
    assert {each.lag for each in (await fresh(ctx, brand)).values()} == {3 * 86400}, "a few users are not all"
    live = await Brand.create(slug="live", name="Live")
    await settings.enable(ctx, live, "lifecycle")
    await refresh(ctx, live.id)
    lags = {each.lag for each in (await fresh(ctx, live)).values()}
    assert all(lag is not None and 0 < lag < 60 for lag in lags)


async def test_before_the_first_refresh_nothing_is_known(ctx: Context, brand: Brand) -> None:
    await settings.enable(ctx, brand, "lifecycle")
    await bought(ctx, brand, 1, day=0)
    await decide_users(ctx, brand.id)
    assert set((await fresh(ctx, brand)).values()) == {Freshness(None, None, None, None, 0, 0, 0, None, None)}


async def test_a_rule_that_fails_says_why_and_keeps_its_last_good_run(
    ctx: Context, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settings.enable(ctx, brand, "lifecycle")
    await settings.enable(ctx, brand, "rfm")
    await bought(ctx, brand, *range(8), day=0)
    await refresh(ctx, brand.id)
    good = await fresh(ctx, brand)
    rules = {rule.key: rule for rule in ctx.plugins.get("rfm").rules}

    def fails(*_: Any) -> Any:
        raise RuntimeError("no such quantile")

    monkeypatch.setattr(type(rules["rfm"]), "fit", fails)
    await bought(ctx, brand, 9, day=1)
    await refresh(ctx, brand.id)
    now = await fresh(ctx, brand)
    mine = {row.key for row in await Tag.filter(brand_id=brand.id, plugin="rfm")}
    failing = {key for key, each in now.items() if each.error}
    assert failing
    assert failing <= mine
    for key in failing:
        assert now[key].error == "RuntimeError: no such quantile"
        assert now[key].error_since is not None
        assert (now[key].run_id, now[key].as_of, now[key].gained) == (
            good[key].run_id,
            good[key].as_of,
            good[key].gained,
        )
    assert now["growth"].error is None
    assert now["growth"].run_id != good["growth"].run_id

    monkeypatch.undo()
    await refresh(ctx, brand.id)
    assert {each.error for each in (await fresh(ctx, brand)).values()} == {None}


async def test_a_change_that_is_rolled_out_counts_both_kinds_of_users(ctx: Context, brand: Brand) -> None:
    await settings.enable(ctx, brand, "lifecycle")
    await bought(ctx, brand, *range(40), day=0)
    await bought(ctx, brand, 99, day=20)
    await refresh(ctx, brand.id)
    sooner = {"lifecycle": {"dormant_days": 10, "stay_days": 0}}
    await settings.configure(ctx, brand, "lifecycle", sooner, percent=50)
    await refresh(ctx, brand.id)
    now, users = await fresh(ctx, brand), await standing(brand)
    assert 0 < users["dormant"] < 40
    assert (now["dormant"].gained, now["dormant"].users) == (users["dormant"], 41)


async def test_brands_are_told_apart(ctx: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other", replayed_to=START)
    for each in (brand, other):
        await settings.enable(ctx, each, "lifecycle")
    await bought(ctx, brand, 1, 2, day=0)
    await refresh(ctx, brand.id)
    await refresh(ctx, other.id)
    assert {each.users for each in (await fresh(ctx, brand)).values()} == {2}
    assert {each.users for each in (await fresh(ctx, other)).values()} == {0}
