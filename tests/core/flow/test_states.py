"""What rules learned is listed, looked at, kept in place of fitting, and let go again."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from siyu import Count, Field, FittedSegmenter, NotFound, Params, RuleError, Segmenter, State, Tag, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow import plugins as settings
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.preview import preview
from siyu.flow.refresh import refresh
from siyu.flow.states import FittedState, find, listed
from siyu.store.models import Brand, Fence, PluginSetting, RulebookVersion, SettingChange
from siyu.store.models import Tag as TagRow

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
understood = {"least"}


class Above(FittedSegmenter):
    """Who orders at least as often as the most eager did when it was fitted."""

    class Params(Params):
        less: int = Field(0, ge=0, title="less")

    orders = Count("order.paid")

    def fit(self, facts: pl.DataFrame, p: Any) -> State:
        return {"least": facts.get_column("orders").max() or 0}

    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        least = state["least"] if "least" in understood else state["atLeast"]
        yield Tag("keen.above", "above", self.orders >= least - p.less, "{orders} orders")


class Any1(Segmenter):
    orders = Count("order.paid")

    def tags(self, p: Any) -> Iterator[Tag]:
        yield Tag("keen.any", "any", self.orders >= 1, "{orders} orders")


@pytest.fixture(autouse=True)
def _understands() -> Iterator[None]:
    understood.add("least")
    yield
    understood.add("least")


@pytest.fixture
async def keen(ctx: Context, brand: Brand) -> Context:
    """A brand with three refreshes behind it, in which the most eager had ordered 1, 2 and 3 times."""
    module = types.ModuleType("keen", "Fits.")
    module.siyu_segmenters = hookimpl(lambda: [Above, Any1], specname="siyu_segmenters")  # type: ignore[attr-defined]
    manager = PluginManager.load()
    manager.register("keen", module)
    manager.check()
    opened = replace(ctx, plugins=manager)
    await settings.enable(opened, brand, "keen", by="ann")
    for day in range(3):
        await buy(opened, brand, "1", day)
        await refresh(opened, brand.id)
    return opened


async def buy(ctx: Context, brand: Brand, member: str, day: int) -> None:
    at = START + timedelta(days=day)
    await record(ctx, brand, [IncomingEvent(f"{member}-{day}", "order.paid", {"member": member}, {"amount": 1}, at)])


async def states(ctx: Context, brand: Brand, limit: int = 10) -> list[FittedState]:
    async with ctx.db.connection() as connection:
        return await listed(connection, brand.id, "keen", limit)


async def version(ctx: Context, brand: Brand, least: int) -> str:
    return next(each.version for each in await states(ctx, brand) if each.state == {"least": least})


async def above(brand: Brand) -> int:
    return int((await TagRow.get(brand_id=brand.id, key="keen.above")).users)


async def test_each_state_is_listed_once_with_the_first_version_that_had_it(keen: Context, brand: Brand) -> None:
    await settings.configure(keen, brand, "keen", {"above": {"less": 1}})
    await refresh(keen, brand.id)
    versions = await RulebookVersion.filter(brand_id=brand.id).order_by("id")
    assert len(versions) == 4, "other parameters, the same state"
    found = await states(keen, brand)
    assert [(each.rule, each.state, each.current) for each in found] == [
        ("above", {"least": 3}, True),
        ("above", {"least": 2}, False),
        ("above", {"least": 1}, False),
    ]
    assert [(each.version, each.since) for each in reversed(found)] == [(v.version, v.created_at) for v in versions[:3]]
    assert await states(keen, brand, 2) == found[:2]
    async with keen.db.connection() as connection:
        assert await find(connection, brand.id, "keen", "above", versions[3].version) == found[0]
        assert await find(connection, brand.id, "keen", "above", "0" * 16) is None
        assert await listed(connection, brand.id + 1, "keen", 10) == []


async def test_a_state_that_is_pinned_holds_from_the_next_refresh_until_it_is_released(
    keen: Context, brand: Brand
) -> None:
    await buy(keen, brand, "2", 2)
    await decide_users(keen, brand.id)
    assert await above(brand) == 1
    await settings.pin(keen, brand, "keen", "above", await version(keen, brand, 1), by="bob")
    await buy(keen, brand, "3", 2)
    await decide_users(keen, brand.id)
    assert await above(brand) == 1, "users are decided by the state that stands"

    await refresh(keen, brand.id)
    assert await above(brand) == 3
    await buy(keen, brand, "1", 3)
    await buy(keen, brand, "4", 3)
    await decide_users(keen, brand.id)
    await refresh(keen, brand.id)
    assert await above(brand) == 4, "the most eager has ordered four times, which nobody looks at"
    assert [each.state for each in await states(keen, brand) if each.current] == [{"least": 1}]

    await settings.release(keen, brand, "keen", "above", by="bob")
    await refresh(keen, brand.id)
    assert await above(brand) == 1
    assert [each.state for each in await states(keen, brand) if each.current] == [{"least": 4}]


async def test_pinning_and_releasing_are_changes_that_can_be_undone(keen: Context, brand: Brand) -> None:
    first, second = await version(keen, brand, 1), await version(keen, brand, 2)
    await settings.pin(keen, brand, "keen", "above", first, by="bob")
    await settings.pin(keen, brand, "keen", "above", second, by="cat")
    await settings.release(keen, brand, "keen", "above", by="dan")
    changes = await SettingChange.filter(brand_id=brand.id).order_by("id")
    assert [(c.by, c.before.get("pinned"), c.after.get("pinned")) for c in changes[1:]] == [
        ("bob", None, {"above": first}),
        ("cat", {"above": first}, {"above": second}),
        ("dan", {"above": second}, None),
    ]
    for wanted in ({"above": second}, {"above": first}, {}):
        assert (await settings.undo(keen, brand, "keen")).pinned == wanted
    await brand.refresh_from_db()
    assert brand.refresh_asked is not None


async def test_undoing_a_pin_gives_the_decisions_back_as_they_were(keen: Context, brand: Brand) -> None:
    async def assignments() -> list[tuple[Any, ...]]:
        async with keen.db.connection() as connection:
            rows = await connection.fetch(
                "SELECT user_id, tag_id, since, rulebook_id FROM tag_assignment ORDER BY 1, 2"
            )
        return [tuple(row) for row in rows]

    await buy(keen, brand, "2", 2)
    await decide_users(keen, brand.id)
    before = await assignments()
    await settings.pin(keen, brand, "keen", "above", await version(keen, brand, 1))
    await refresh(keen, brand.id)
    assert await assignments() != before
    await settings.undo(keen, brand, "keen")
    await refresh(keen, brand.id)
    assert await assignments() == before


async def test_a_pin_outlives_other_changes_of_the_setting(keen: Context, brand: Brand) -> None:
    pinned = {"above": await version(keen, brand, 1)}
    await settings.pin(keen, brand, "keen", **{"rule": "above", "version": pinned["above"]})
    for change in (
        settings.configure(keen, brand, "keen", {"above": {"less": 1}}),
        settings.disable(keen, brand, "keen"),
        settings.enable(keen, brand, "keen"),
    ):
        assert (await change).pinned == pinned


async def test_while_a_change_is_rolled_out_a_pin_holds_for_all_users(keen: Context, brand: Brand) -> None:
    for member in range(2, 42):
        await buy(keen, brand, str(member), 2)
    await settings.configure(keen, brand, "keen", {"above": {"less": 1}}, percent=50)
    await settings.pin(keen, brand, "keen", "above", await version(keen, brand, 1))
    await refresh(keen, brand.id)
    assert await above(brand) == 41
    row = await PluginSetting.get(plugin="keen")
    assert (row.percent, row.base and row.base["params"]) == (50, {}), "and the change is still rolled out"
    await settings.release(keen, brand, "keen", "above")
    await refresh(keen, brand.id)
    assert await above(brand) == 1


async def test_a_preview_sees_what_is_pinned(keen: Context, brand: Brand) -> None:
    await buy(keen, brand, "2", 2)
    await decide_users(keen, brand.id)
    await settings.pin(keen, brand, "keen", "above", await version(keen, brand, 2))
    await refresh(keen, brand.id)
    await brand.refresh_from_db()
    shown = await preview(keen, brand, "keen", params={"above": {"less": 1}})
    [effect] = [tag for tag in shown.tags if tag.key == "keen.above"]
    assert (effect.today, effect.proposed) == (1, 2)


async def test_a_state_that_the_plugin_cannot_go_on_with_is_refused(keen: Context, brand: Brand) -> None:
    understood.clear()
    with pytest.raises(RuleError, match="cannot go on with the state") as refused:
        await settings.pin(keen, brand, "keen", "above", await version(keen, brand, 1))
    assert (refused.value.field, refused.value.remedy) == ("keen.above", "pin another, or release it")
    assert (await PluginSetting.get(plugin="keen")).pinned == {}


async def test_a_plugin_that_no_longer_understands_its_pin_is_fenced_until_it_is_released(
    keen: Context, brand: Brand
) -> None:
    await settings.pin(keen, brand, "keen", "above", await version(keen, brand, 1))
    await refresh(keen, brand.id)
    understood.clear()
    await refresh(keen, brand.id)
    [fence] = await Fence.filter(brand_id=brand.id)
    assert (fence.rule, fence.error) == ("above", "KeyError: 'atLeast'")
    assert await above(brand) == 1
    with pytest.raises(RuleError):
        await settings.configure(keen, brand, "keen", {"above": {"less": 1}})
    understood.add("least")
    await settings.release(keen, brand, "keen", "above")
    await refresh(keen, brand.id)
    assert await Fence.all().count() == 0


async def test_what_is_not_there_cannot_be_pinned_or_released(keen: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other")
    known = await version(keen, brand, 1)
    with pytest.raises(NotFound, match=r"no state of keen\.above"):
        await settings.pin(keen, other, "keen", "above", known)
    with pytest.raises(NotFound, match=r"no state of keen\.above"):
        await settings.pin(keen, brand, "keen", "above", "x")
    with pytest.raises(NotFound, match="fits no rule 'any1'") as refused:
        await settings.pin(keen, brand, "keen", "any1", known)
    assert refused.value.remedy == "fitted are: above"
    with pytest.raises(NotFound, match="kept to no state"):
        await settings.release(keen, brand, "keen", "above")
    with pytest.raises(NotFound, match="no plugin"):
        await settings.pin(keen, brand, "nothing", "above", known)
