"""Rulebooks stay bound for as long as what they are made of stands, whoever changes it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from siyu.flow import decide, plugins, rulebooks
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.explain import explain_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.plugins import bind_cohorts
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, RulebookVersion, Tag, TagAssignment, UserStage

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
numbers = itertools.count()


@pytest.fixture
async def other(house_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The database as another process has it."""
    connection = await asyncpg.connect(house_url)
    yield connection
    await connection.close()


@pytest.fixture
def binds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every binding."""
    counted: list[int] = []

    async def spy(*args: Any) -> Any:
        counted.append(1)
        return await bind_cohorts(*args)

    monkeypatch.setattr(rulebooks, "bind_cohorts", spy)
    return counted


async def lifecycle(house: Context, brand: Brand) -> None:
    await plugins.enable(house, brand, "lifecycle")
    await plugins.configure(house, brand, "lifecycle", {"lifecycle": {"stay_days": 0, "mature_orders": 3}})
    await refresh(house, brand.id)


async def order(house: Context, brand: Brand, member: str = "1") -> str:
    """An order more of a member, decided; the stage."""
    number = next(numbers)
    at = START + timedelta(minutes=number)
    payload = {"amount": number + 1}
    await record(house, brand, [IncomingEvent(f"o{number}", "order.paid", {"member": member}, payload, at)])
    await decide_users(house, brand.id)
    newest = await UserStage.filter(brand_id=brand.id, track="lifecycle").order_by("-user_id").first()
    assert newest is not None
    return newest.stage


async def test_rules_are_asked_once_while_nothing_changes(house: Context, shop: Brand, binds: list[int]) -> None:
    await lifecycle(house, shop)
    await order(house, shop)
    assert len(binds) == 1
    for _ in range(3):
        await order(house, shop)
    assert len(binds) == 1


async def test_many_who_ask_why_at_once_wait_for_nobody_elses_connection(
    house: Context, shop: Brand, binds: list[int]
) -> None:
    await lifecycle(house, shop)
    await order(house, shop)
    user = await UserStage.get(brand_id=shop.id, track="lifecycle")
    more = 2 * house.db.connections()["allowed"]
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(explain_users(house, shop, [user.user_id]) for _ in range(more)))
    assert {each[user.user_id].tracks[0].stage for each in found} == {"growth"}
    assert len(binds) == 1


async def test_a_setting_that_another_process_changes_holds_for_the_next_event(
    house: Context, shop: Brand, other: asyncpg.Connection
) -> None:
    await lifecycle(house, shop)
    assert await order(house, shop) == "growth"
    set_to = "UPDATE plugin_setting SET params = $2::jsonb WHERE brand_id = $1"
    await other.execute(set_to, shop.id, json.dumps({"lifecycle": {"stay_days": 0, "mature_orders": 2}}))
    assert await order(house, shop) == "mature"
    await other.execute(set_to, shop.id, json.dumps({"lifecycle": {"stay_days": 0, "mature_orders": 9}}))
    assert await order(house, shop) == "growth"


async def test_a_setting_that_is_rolled_out_or_taken_back_holds_for_the_next_event(house: Context, shop: Brand) -> None:
    await lifecycle(house, shop)
    assert await order(house, shop) == "growth"
    await plugins.configure(house, shop, "lifecycle", {"lifecycle": {"stay_days": 0, "mature_orders": 2}}, percent=99)
    user = (await UserStage.filter(brand_id=shop.id).first()).user_id  # type: ignore[union-attr]
    [first, rest] = await plugins.cohorts(house, shop.id)
    assert await order(house, shop) == ("mature" if user in first else "growth")
    assert (user in first) != (user in rest)
    await plugins.roll_out(house, shop, "lifecycle", 100)
    assert await order(house, shop) == "mature"
    await plugins.undo(house, shop, "lifecycle")
    await plugins.undo(house, shop, "lifecycle")
    await plugins.configure(house, shop, "lifecycle", {"lifecycle": {"stay_days": 0, "mature_orders": 9}})
    assert await order(house, shop) == "growth"


async def test_a_rule_that_another_process_fences_stands_still_from_the_next_event_on(
    house: Context, shop: Brand, other: asyncpg.Connection
) -> None:
    await lifecycle(house, shop)
    for _ in range(2):
        assert await order(house, shop) == "growth"
    await other.execute(
        "INSERT INTO fence (brand_id, plugin, rule, error, since)"
        " VALUES ($1, 'lifecycle', 'lifecycle', 'broken', now())",
        shop.id,
    )
    assert await order(house, shop) == "growth"
    await other.execute("DELETE FROM fence WHERE brand_id = $1", shop.id)
    assert await order(house, shop) == "mature"


async def test_states_that_a_refresh_fits_hold_for_the_next_event(house: Context, shop: Brand) -> None:
    await plugins.enable(house, shop, "rfm")
    await plugins.enable(house, shop, "lifecycle")
    for member in range(6):
        await order(house, shop, str(member))
    assert not await TagAssignment.filter(brand_id=shop.id).exists()  # nothing is fitted yet
    await refresh(house, shop.id)
    ((_, first),) = (await Brand.get(id=shop.id)).rulebooks
    await order(house, shop, "new")
    new = await TagAssignment.filter(brand_id=shop.id).order_by("-user_id").first()
    assert new is not None
    assert new.rulebook_id == first
    for _ in range(5):
        await order(house, shop, "0")
    await refresh(house, shop.id)
    ((_, second),) = (await Brand.get(id=shop.id)).rulebooks
    assert second != first
    await order(house, shop, "newer")
    newer = await UserStage.filter(brand_id=shop.id).order_by("-user_id").first()
    assert newer is not None
    assert newer.rulebook_id == second


async def test_another_time_zone_is_heeded_by_the_next_event(house: Context, shop: Brand, binds: list[int]) -> None:
    await lifecycle(house, shop)
    await order(house, shop)
    await Brand.filter(id=shop.id).update(zone="America/New_York")
    await order(house, shop)
    assert house.bound[shop.id].deciders[0].zone.key == "America/New_York"
    assert len(binds) == 2


async def test_what_a_decision_that_failed_had_bound_is_not_kept(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plugins.enable(house, shop, "lifecycle")
    with monkeypatch.context() as broken:
        broken.setattr(decide, "_write_few", None)
        with pytest.raises(TypeError):
            await order(house, shop)
    assert not await RulebookVersion.filter(brand_id=shop.id).exists()
    assert await order(house, shop) == "growth"
    kept = {version.id for version in await RulebookVersion.filter(brand_id=shop.id)}
    assert {stage.rulebook_id for stage in await UserStage.filter(brand_id=shop.id)} == kept


async def test_brands_do_not_share_what_is_bound(house: Context, shop: Brand) -> None:
    second = await Brand.create(slug="beside", name="Beside", replayed_to=datetime.fromtimestamp(0, UTC))
    await lifecycle(house, shop)
    await lifecycle(house, second)
    await plugins.enable(house, second, "rfm")
    await order(house, shop)
    for _ in range(2):  # by the second, what the first has written stands
        await order(house, second)
    await order(house, shop)
    assert not await Tag.filter(brand_id=shop.id).exists()
    first, other = ({version.id for version in house.bound[brand.id].kept} for brand in (shop, second))
    assert first.isdisjoint(other)


async def test_only_so_many_brands_stay_bound(house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebooks, "MOST", 2)
    for number in range(4):
        brand = await Brand.create(slug=f"one-of-{number}", name="Many", replayed_to=datetime.fromtimestamp(0, UTC))
        await lifecycle(house, brand)
        assert await order(house, brand) == "growth"
        assert len(house.bound) <= 2
        assert brand.id in house.bound
