"""A rule that fails stops nobody else; what it last decided stands, its error shows, and it is tried again."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import siyu
from siyu import Count, DaysSince, Field, FittedSegmenter, Segmenter, State, Tag, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow import plugins as settings
from siyu.flow.context import Context
from siyu.flow.decide import decide_users, refresh
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.models import Brand, Fence, SettingChange
from siyu.store.models import Tag as TagRow

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
trouble: dict[str, Any] = {}


class Eager(Segmenter):
    class Params(siyu.Params):
        orders: int = Field(1, ge=1, title="orders")

    orders = Count("order.paid")

    def tags(self, p: Params) -> Iterator[Tag]:
        if "tags" in trouble:
            raise trouble["tags"]
        yield Tag("fragile.eager", "eager", self.orders >= p.orders, "{orders} orders")


class Fitted(FittedSegmenter):
    orders = Count("order.paid")

    def fit(self, facts: pl.DataFrame, p: Any) -> State:
        if "fit" in trouble:
            return trouble["fit"]  # type: ignore[no-any-return]
        return {"least": 1}

    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        return [Tag("fragile.fitted", "fitted", self.orders >= state["least"], "{orders} orders")]


class Steady(Segmenter):
    last = DaysSince("order.paid")

    def tags(self, p: Any) -> Iterator[Tag]:
        yield Tag("fragile.recent", "recent", self.last <= 5, "{last} days ago")


@pytest.fixture(autouse=True)
def _no_trouble() -> Iterator[None]:
    trouble.clear()
    yield
    trouble.clear()


@pytest.fixture
async def fragile(ctx: Context, brand: Brand) -> Context:
    """The context with a plugin of three rules, two of which can be broken on purpose, on for the brand."""
    module = types.ModuleType("fragile", "Breaks on purpose.")
    module.siyu_segmenters = hookimpl(lambda: [Eager, Fitted, Steady], specname="siyu_segmenters")  # type: ignore[attr-defined]
    manager = PluginManager.load()
    manager.register("fragile", module)
    manager.check()
    opened = replace(ctx, plugins=manager)
    await settings.enable(opened, brand, "fragile", by="test")
    await buy(opened, brand, "a", "1", 0)
    await refresh(opened, brand.id)
    return opened


async def buy(ctx: Context, brand: Brand, key: str, member: str, day: int) -> None:
    await brand.refresh_from_db()
    at = START + timedelta(days=day)
    await record(ctx, brand, [IncomingEvent(key, "order.paid", {"member": member}, {"amount": 1}, at)])


async def holders(brand: Brand) -> dict[str, int]:
    return {row.key: row.users for row in await TagRow.filter(brand_id=brand.id, active=True)}


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"tags": ValueError("no luck")}, "eager"),
        ({"fit": {"least": "many"}}, "fitted"),
        ({"fit": {"least": float("nan")}}, "fitted"),
        ({"fit": object()}, "fitted"),
    ],
)
async def test_a_broken_rule_is_fenced_and_its_decisions_stand(
    fragile: Context, brand: Brand, broken: dict[str, Any], rule: str
) -> None:
    good = {"fragile.eager": 1, "fragile.fitted": 1, "fragile.recent": 1}
    assert await holders(brand) == good
    trouble.update(broken)
    await buy(fragile, brand, "b", "2", 10)
    await refresh(fragile, brand.id)

    [fence] = await Fence.filter(brand_id=brand.id)
    assert (fence.plugin, fence.rule) == ("fragile", rule)
    assert fence.last_good is not None
    # The others have gone on: the new user bought today, the old one ten days ago.
    others = {key: 2 for key in good if key != f"fragile.{rule}"} | {"fragile.recent": 1}
    assert await holders(brand) == {f"fragile.{rule}": 1, **others}
    lagging = await TagRow.get(brand_id=brand.id, key=f"fragile.{rule}")
    fresh = await TagRow.get(brand_id=brand.id, key="fragile.recent")
    assert lagging.as_of is not None
    assert fresh.as_of is not None
    assert lagging.as_of < fresh.as_of

    # Single users are decided without it, and repeated runs change nothing.
    await buy(fragile, brand, "c", "3", 10)
    assert (await decide_users(fragile, brand.id)).users == 1
    assert (await refresh(fragile, brand.id)).changes == 0

    trouble.clear()
    await refresh(fragile, brand.id)
    assert await Fence.filter(brand_id=brand.id).count() == 0
    assert (await holders(brand))[f"fragile.{rule}"] == 3


async def test_a_rule_that_breaks_between_refreshes_is_fenced_for_single_users(fragile: Context, brand: Brand) -> None:
    trouble["tags"] = RuntimeError("just now")
    await buy(fragile, brand, "b", "2", 1)
    assert (await decide_users(fragile, brand.id)).users == 1
    [fence] = await Fence.filter(brand_id=brand.id)
    assert "just now" in fence.error
    assert (await holders(brand))["fragile.eager"] == 1
    assert (await holders(brand))["fragile.recent"] == 2


async def test_settings_that_a_new_version_refuses_fence_the_plugin(fragile: Context, brand: Brand) -> None:
    async with fragile.db.connection() as connection:
        await connection.execute('UPDATE plugin_setting SET params = \'{"eager": {"gone": 1}}\'')
    await refresh(fragile, brand.id)
    assert {fence.rule for fence in await Fence.all()} == {"eager", "fitted", "steady"}
    assert (await holders(brand))["fragile.eager"] == 1


async def test_a_brand_is_fenced_alone(fragile: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other", replayed_to=START)
    await settings.enable(fragile, other, "fragile")
    await refresh(fragile, other.id)
    trouble["tags"] = ValueError("no luck")
    await refresh(fragile, brand.id)
    assert [fence.brand_id for fence in await Fence.all()] == [brand.id]


async def test_a_plugin_whose_rule_fails_is_not_switched_on(fragile: Context, brand: Brand) -> None:
    trouble["tags"] = ValueError("no luck")
    with pytest.raises(siyu.PluginError, match="no luck"):
        await settings.configure(fragile, brand, "fragile", {"eager": {"orders": 3}})


async def test_changes_of_settings_are_kept_and_undone_one_by_one(fragile: Context, brand: Brand) -> None:
    await settings.configure(fragile, brand, "fragile", {"eager": {"orders": 2}}, by="ann")
    await refresh(fragile, brand.id)
    assert (await holders(brand))["fragile.eager"] == 0
    await settings.disable(fragile, brand, "fragile", by="bob")
    assert [(c.by, c.before["enabled"], c.after["enabled"]) for c in await SettingChange.all().order_by("id")] == [
        ("test", False, True),
        ("ann", True, True),
        ("bob", True, False),
    ]
    on = await settings.undo(fragile, brand, "fragile", by="ann")
    assert (on.enabled, on.params) == (True, {"eager": {"orders": 2}})
    on = await settings.undo(fragile, brand, "fragile", by="ann")
    assert (on.enabled, on.params) == (True, {})
    await refresh(fragile, brand.id)
    assert (await holders(brand))["fragile.eager"] == 1
    on = await settings.undo(fragile, brand, "fragile", by="ann")
    assert on.enabled is False
    with pytest.raises(siyu.NotFound):
        await settings.undo(fragile, brand, "fragile", by="ann")
