"""A rule that fails stops nobody else; what it last decided stands, its error shows, and it is tried again."""

from __future__ import annotations

import asyncio
import itertools
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import siyu
from siyu import (
    ALWAYS,
    Condition,
    Count,
    DaysSince,
    Field,
    FittedSegmenter,
    Segmenter,
    State,
    Tag,
    Total,
    hookimpl,
)
from siyu.contract.manager import Plugin, PluginManager
from siyu.engine import fit, rulebook
from siyu.flow import fences
from siyu.flow import plugins as settings
from siyu.flow.context import Context, open_context
from siyu.flow.decide import decide_users
from siyu.flow.explain import explain
from siyu.flow.identities import user_named
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.preview import preview, replay
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, Fence, SettingChange, TagAssignment
from siyu.store.models import Tag as TagRow

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
trouble: dict[str, Any] = {}
fits: list[int] = []


class Strange(Condition):
    """Of another's making."""


def spin() -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


class Eager(Segmenter):
    class Params(siyu.Params):
        orders: int = Field(1, ge=1, title="orders")

    orders = Count("order.paid")

    def tags(self, p: Params) -> Iterator[Tag]:
        if "tags" in trouble:
            raise trouble["tags"]
        if "spin" in trouble:
            spin()
        if "endless" in trouble:
            yield from (Tag(f"fragile.n{n}", "n", self.orders > n) for n in itertools.count())
        yield from trouble.get("more", lambda: ())()
        yield Tag("fragile.eager", "eager", self.orders >= p.orders, "{orders} orders")


class Fitted(FittedSegmenter):
    orders = Count("order.paid")

    def fit(self, facts: pl.DataFrame, p: Any) -> State:
        fits.append(len(facts))
        if "fit unless" in trouble and len(facts) < trouble["fit unless"]:
            raise ValueError("too few")
        if "fit" in trouble:
            return trouble["fit"]  # type: ignore[no-any-return]
        if "spin in fit" in trouble:
            spin()
        return {"least": 1}

    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        return [Tag("fragile.fitted", "fitted", self.orders >= state["least"], "{orders} orders")]


class Steady(Segmenter):
    last = DaysSince("order.paid")

    def tags(self, p: Any) -> Iterator[Tag]:
        yield Tag("fragile.recent", "recent", self.last <= 5, "{last} days ago")


@pytest.fixture(autouse=True)
def _no_trouble(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rulebook, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(fit, "FIT_SECONDS", 0.6)
    trouble.clear()
    fits.clear()
    yield
    trouble.clear()


def tag(key: str = "x", title: Any = "X", when: Condition = ALWAYS, because: Any = "", facts: Any = None) -> Tag:
    return Tag(f"fragile.{key}", title, when, because, facts or {})


def nested(levels: int, grown: Callable[[Condition, int], Condition]) -> Condition:
    return reduce(grown, range(levels), Count("order.paid") > 1)


def with_fragile(ctx: Context) -> Context:
    """The context with a plugin of three rules, two of which can be broken on purpose."""
    module = types.ModuleType("fragile", "Breaks on purpose.")
    module.siyu_segmenters = hookimpl(lambda: [Eager, Fitted, Steady], specname="siyu_segmenters")  # type: ignore[attr-defined]
    manager = PluginManager.load()
    manager.register("fragile", module)
    manager.check()
    return replace(ctx, plugins=manager)


@pytest.fixture
async def fragile(ctx: Context, brand: Brand) -> Context:
    """As :func:`with_fragile`, and the plugin is on for the brand."""
    opened = with_fragile(ctx)
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
        ({"tags": ValueError("no\0luck")}, "eager"),
        ({"more": lambda: [tag(title=None)]}, "eager"),
        ({"more": lambda: [tag(title="X" * 201)]}, "eager"),
        ({"more": lambda: [tag(title="a\0b")]}, "eager"),
        ({"more": lambda: [tag(because="\ud800")]}, "eager"),
        ({"more": lambda: [tag(because="{orders:999999999}")]}, "eager"),
        ({"more": lambda: [tag(facts={"a": 3})]}, "eager"),
        ({"more": lambda: [tag(facts={"a": Count("order.payed")})]}, "eager"),
        ({"more": lambda: [tag(when=Total("order.paid", "amonut") > 1)]}, "eager"),
        ({"more": lambda: [tag("eager")]}, "eager"),
        ({"more": lambda: [tag(when=Strange())]}, "eager"),
        ({"more": lambda: [tag(when=nested(5000, lambda held, _: ~held))]}, "eager"),
        ({"more": lambda: [tag(when=nested(40, lambda held, n: (held | (ALWAYS)) & (held | ~ALWAYS)))]}, "eager"),
        ({"more": lambda: [tag(f"n{n}", when=Count("order.paid", days=n) > 1) for n in range(1, 1002)]}, "eager"),
        ({"fit": {"least": 1, "text": "a\0b"}}, "fitted"),
        ({"fit": {"least": 1, "text": "a" * 4_000_000}}, "fitted"),
        ({"fit": [1]}, "fitted"),
        ({"fit": {"least": "many"}}, "fitted"),
        ({"fit": {"least": float("nan")}}, "fitted"),
        ({"fit": object()}, "fitted"),
        ({"spin": True}, "eager"),
        ({"endless": True}, "eager"),
        ({"spin in fit": True}, "fitted"),
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


async def test_what_a_rule_that_cannot_be_fitted_would_do_is_not_shown(ctx: Context, brand: Brand) -> None:
    ctx = with_fragile(ctx)
    await buy(ctx, brand, "a", "1", 0)
    await brand.refresh_from_db()
    trouble["fit"] = object()

    async def asked() -> None:
        with pytest.raises(siyu.PluginError, match="its rule fails: TypeError") as caught:
            await preview(ctx, brand, "fragile", enabled=True, params={})
        assert caught.value.field == "fragile.fitted"
        with pytest.raises(siyu.PluginError, match="its rule fails: TypeError"):
            await replay(ctx, brand, "fragile", enabled=True, params={}, since=START)

    await asked()
    await refresh(ctx, brand.id)
    await settings.enable(ctx, brand, "fragile")
    await refresh(ctx, brand.id)
    [fence] = await Fence.filter(brand_id=brand.id)
    assert (fence.rule, fence.last_good) == ("fitted", None), "it has never been good"
    await asked()
    # Others can be previewed beside it.
    assert (await preview(ctx, brand, "lifecycle", enabled=True)).users == 1


async def test_a_rule_that_hangs_costs_a_replay_its_time_once(fragile: Context, brand: Brand) -> None:
    await buy(fragile, brand, "b", "2", 10)
    await brand.refresh_from_db()
    trouble["spin in fit"] = True
    fits.clear()
    found = await replay(fragile, brand, "lifecycle", enabled=True, since=START, every=timedelta(days=2))
    assert (len(found.points), len(fits)) == (6, 1)
    [failing] = found.failing
    assert (failing.plugin, failing.rule, failing.at, failing.moments) == ("fragile", "fitted", START, 6)
    assert failing.error == "fitted: no answer after 0.6 s (let it do less)"
    assert {size.key for size in found.points[-1].tags} == {"fragile.eager", "fragile.recent"}
    with pytest.raises(siyu.RuleError, match=r"fitted: no answer after 0\.1 s"):
        await preview(fragile, brand, "fragile", params={"eager": {"orders": 2}}, most=0.1)


async def test_a_rule_that_fails_at_one_moment_of_a_replay_is_asked_at_the_next(fragile: Context, brand: Brand) -> None:
    await buy(fragile, brand, "b", "2", 10)
    await brand.refresh_from_db()
    trouble["fit unless"] = 2
    found = await replay(fragile, brand, since=START, every=timedelta(days=5))
    held = [{size.key: size.today for size in point.tags}.get("fragile.fitted") for point in found.points]
    assert held == [None, None, 2]
    [failing] = found.failing
    assert (failing.error, failing.at, failing.moments) == ("ValueError: too few", START, 2)


async def test_what_others_have_fenced_is_not_asked_in_a_preview_and_stands(fragile: Context, brand: Brand) -> None:
    trouble["spin in fit"] = True
    await buy(fragile, brand, "b", "2", 10)
    await refresh(fragile, brand.id)
    await brand.refresh_from_db()
    fits.clear()
    found = await preview(fragile, brand, "lifecycle", enabled=True)
    stands = {effect.key: (effect.today, effect.proposed) for effect in found.tags}
    assert stands == {"fragile.eager": (2, 2), "fragile.fitted": (1, 1), "fragile.recent": (1, 1)}
    replayed = await replay(fragile, brand, since=START, every=timedelta(days=5))
    assert [(each.rule, each.moments) for each in replayed.failing] == [("fitted", 3)]
    assert fits == []
    # Switched off, the plugin takes with it what stands of it.
    found = await preview(fragile, brand, "fragile", enabled=False)
    assert {effect.key: effect.leave.users for effect in found.tags} == {
        key: today for key, (today, _) in stands.items()
    }
    await settings.disable(fragile, brand, "fragile")
    await refresh(fragile, brand.id)
    assert await holders(brand) == {}


async def test_settings_that_a_new_version_refuses_fence_the_plugin(fragile: Context, brand: Brand) -> None:
    async with fragile.db.connection() as connection:
        await connection.execute('UPDATE plugin_setting SET params = \'{"eager": {"gone": 1}}\'')
    await refresh(fragile, brand.id)
    assert {fence.rule for fence in await Fence.all()} == {"eager", "fitted", "steady"}
    assert (await holders(brand))["fragile.eager"] == 1


async def test_a_rule_that_hangs_does_not_hold_up_the_event_loop(fragile: Context, brand: Brand) -> None:
    trouble["spin"] = True
    await buy(fragile, brand, "b", "2", 1)
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.01)
            gaps.append(time.perf_counter() - started)

    ticking = asyncio.create_task(tick())
    assert (await decide_users(fragile, brand.id)).users == 1
    [fence] = await Fence.filter(brand_id=brand.id)
    with pytest.raises(siyu.RuleError, match="no answer after"):
        await settings.configure(fragile, brand, "fragile", {"eager": {"orders": 3}})
    ticking.cancel()
    assert fence.error == "eager: no answer after 0.6 s (let it do less)"
    assert len(gaps) > 20
    assert sorted(gaps)[-2] < 0.5


async def test_a_plugin_that_cannot_be_loaded_any_more_is_fenced_until_it_can(fragile: Context, brand: Brand) -> None:
    """As after a restart with a new version of the plugin: a rule that fails, or a module that cannot be imported."""
    good = await holders(brand)
    plugin = fragile.plugins.plugins["fragile"]
    error = siyu.RuleError("it raises", field="fragile.eager")
    await buy(fragile, brand, "b", "2", 10)
    for refused in (replace(plugin, refused=error), Plugin("fragile", "fragile", "", refused=error)):
        fragile.plugins.plugins["fragile"] = refused
        await refresh(fragile, brand.id)
        fenced = {fence.rule: fence.error for fence in await Fence.all()}
        assert fenced == dict.fromkeys(("eager", "fitted", "steady"), "fragile.eager: it raises")
        assert await holders(brand) == good
        with pytest.raises(siyu.PluginError, match="it raises"):
            await settings.enable(fragile, brand, "fragile")
    fragile.plugins.plugins["fragile"] = plugin
    await refresh(fragile, brand.id)
    assert await Fence.exists() is False
    assert (await holders(brand))["fragile.eager"] == 2
    fragile.plugins.plugins["fragile"] = refused
    await settings.disable(fragile, brand, "fragile")
    await refresh(fragile, brand.id)
    assert await holders(brand) == {}


async def test_a_plugin_that_is_gone_while_it_is_on_takes_nothing_with_it(database_url: str, tmp_path: Path) -> None:
    """As where a deployment has left it out."""
    good = {"fragile.eager": 1, "fragile.fitted": 1, "fragile.recent": 1}
    async with open_context(database_url, PluginManager.load(), tmp_path) as opened:
        ctx = with_fragile(opened)
        brand = await Brand.create(slug="shop", name="Shop", replayed_to=START)
        await settings.enable(ctx, brand, "fragile")
        await buy(ctx, brand, "a", "1", 0)
        await refresh(ctx, brand.id)
        assert await holders(brand) == good
    async with open_context(database_url, PluginManager.load(), tmp_path) as ctx:
        await buy(ctx, brand, "b", "2", 10)
        await refresh(ctx, brand.id)
        assert {fence.rule for fence in await Fence.all()} == {"eager", "fitted", "steady"}
        assert await holders(brand) == good
        with pytest.raises(siyu.PluginError, match="not installed"):
            await settings.configure(ctx, brand, "fragile", {})
        await settings.disable(ctx, brand, "fragile")
        await refresh(ctx, brand.id)
        assert await holders(brand) == {}
    async with open_context(database_url, PluginManager.load(), tmp_path) as ctx:
        with pytest.raises(siyu.NotFound, match="no plugin 'fragile'"):
            ctx.plugins.get("fragile")


async def test_what_a_fenced_rule_has_decided_is_explained_as_such(fragile: Context, brand: Brand) -> None:
    trouble["tags"] = ValueError("no luck")
    await refresh(fragile, brand.id)
    found = await explain(fragile, brand, await user_named(brand, "member", "1"))
    assert [(each.key, each.because) for each in found.fenced] == [("fragile.eager", "1 orders")]
    assert found.gone == ()
    assert [tag.key for tag in found.tags] == ["fragile.fitted", "fragile.recent"]


async def test_fenced_rules_are_tried_again_on_demand(fragile: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other", replayed_to=START)
    await settings.enable(fragile, other, "fragile")
    await refresh(fragile, other.id)
    trouble.update(tags=ValueError("first"), fit=object())
    for each in (brand, other):
        await refresh(fragile, each.id)
    await buy(fragile, brand, "b", "2", 1)
    await Brand.filter(id=brand.id).update(refresh_asked=None)

    trouble["tags"] = ValueError("second")
    await fences.retry(fragile, brand, "fragile")
    errors = {fence.rule: fence.error for fence in await Fence.filter(brand_id=brand.id)}
    assert errors["eager"] == "ValueError: second"

    trouble.clear()
    await fences.retry(fragile, brand, "fragile")
    # Only a refresh can tell whether a rule can be fitted, and it has been asked for.
    assert [fence.rule for fence in await Fence.filter(brand_id=brand.id)] == ["fitted"]
    await brand.refresh_from_db()
    assert brand.refresh_asked is not None
    assert (await decide_users(fragile, brand.id)).users == 1
    assert (await holders(brand))["fragile.eager"] == 2
    await refresh(fragile, brand.id)
    assert {fence.brand_id for fence in await Fence.all()} == {other.id}


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


async def test_an_undo_waits_until_its_rules_work_and_then_gives_back_all(fragile: Context, brand: Brand) -> None:
    await brand.refresh_from_db()
    user = await user_named(brand, "member", "1")
    given = await TagAssignment.filter(brand_id=brand.id, user_id=user).order_by("tag_id").values()
    await settings.configure(fragile, brand, "fragile", {"eager": {"orders": 2}})
    await refresh(fragile, brand.id)
    trouble["tags"] = ValueError("no luck")
    await refresh(fragile, brand.id)
    with pytest.raises(siyu.PluginError, match=r"would be given back fails: .*no luck.*mend the plugin") as refused:
        await settings.undo(fragile, brand, "fragile")
    assert refused.value.field == "fragile.eager"
    # Switched off meanwhile, and on again by the first undo.
    await settings.disable(fragile, brand, "fragile")
    await refresh(fragile, brand.id)
    trouble.clear()
    for _ in range(2):
        await settings.undo(fragile, brand, "fragile")
        await refresh(fragile, brand.id)
    back = await TagAssignment.filter(brand_id=brand.id, user_id=user).order_by("tag_id").values()
    assert [{**row, "id": 0} for row in back] == [{**row, "id": 0} for row in given]


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
