"""An explanation says what the rules decide, with everything that they looked at, beside what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siyu import ALWAYS, Attribute, Condition, Count, DaysSince, InputError, NotFound, Stage, Tag
from siyu.engine.evaluate import Decider
from siyu.engine.explain import Standing, explain
from siyu.engine.rulebook import Reason, Rulebook, TagRule, Track
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.explain import explain as explain_user
from siyu.flow.identities import user_named
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, TagAssignment, UserStage

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
ORDERS, SILENT, CITY = Count("order.paid"), DaysSince("order.paid"), Attribute("city")
conditions: st.SearchStrategy[Condition] = st.sampled_from(
    [ORDERS > 0, ~(SILENT > 30), (ORDERS >= 2) & (CITY == "x"), (SILENT / ORDERS > 10) | CITY.is_missing(), ALWAYS]
)
REASON = Reason("{orders} orders", {"orders": ORDERS}, {}, "rule", {"orders": ORDERS, "silent": SILENT}, {"days": 30})
STAGES = ("new", "old", "gone")


@st.composite
def rulebooks(draw: st.DrawFn) -> Rulebook:
    tags = tuple(TagRule("p", Tag(f"p.{n}", "t", draw(conditions)), REASON) for n in range(draw(st.integers(0, 3))))
    keys = draw(st.lists(st.sampled_from(STAGES), unique=True, min_size=1))
    stages = tuple(Stage(key, key, draw(conditions), stay=draw(st.sampled_from([0, 7]))) for key in keys)
    return Rulebook(tags, (Track("p", "t", "t", stages, (REASON,) * len(stages)),), {})


stands = st.none() | st.builds(
    lambda stage, days: Standing("t", stage, NOW - timedelta(days=days), "v", ""),
    st.sampled_from([*STAGES, "former"]),
    st.sampled_from([0, 6, 7, 8]),
)
rows = st.fixed_dictionaries(
    {
        ORDERS.name: st.integers(0, 3),
        SILENT.name: st.none() | st.integers(0, 60),
        CITY.name: st.none() | st.sampled_from("xy"),
    }
)


@settings(max_examples=200, deadline=None)
@given(rulebook=rulebooks(), facts=rows, stood=stands)
def test_an_explanation_comes_to_what_is_decided(
    rulebook: Rulebook, facts: dict[str, Any], stood: Standing | None
) -> None:
    decider = Decider(rulebook, SHANGHAI)
    before = {"@t": stood.key, "@t.since": stood.since} if stood else {}
    decided = decider.user(facts, before, NOW)
    tags, [track] = explain(decider, facts, [stood] if stood else [], NOW)
    for tag in tags:
        assert tag.held is tag.condition.held is decided[tag.key]
        assert tag.because == (f"{facts[ORDERS.name]} orders" if tag.held else tag.because)
        assert tag.params == {"days": 30}
    holding = [stage.key for stage in track.stages if stage.held]
    assert track.first == (holding[0] if holding else None)
    assert [stage.tried for stage in track.stages] == [
        not any(earlier.held for earlier in track.stages[:n]) for n in range(len(track.stages))
    ]
    assert track.stage == decided["@t"]
    kept = track.stage != track.first
    assert (track.kept_until is not None) is kept
    if kept and stood:
        assert track.stage == stood.key
        # The seventh midnight after it came.
        local = stood.since.astimezone(SHANGHAI)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=7)
        assert track.kept_until == midnight > NOW


def order(key: str, member: str, day: int) -> IncomingEvent:
    return IncomingEvent(key, "order.paid", {"member": member}, {"amount": "10"}, NOW + timedelta(days=day))


async def test_what_is_explained_is_what_is_then_decided(ctx: Context, brand: Brand) -> None:
    for name in ("lifecycle", "rfm"):
        await plugins.enable(ctx, brand, name)
    await record(ctx, brand, [order(f"{m}-{n}", str(m), m * 9 + n) for m in range(8) for n in range(m % 3 + 1)])
    await brand.refresh_from_db()
    await refresh(ctx, brand.id)
    await record(ctx, brand, [order("new", "0", 80)])
    await brand.refresh_from_db()
    user = await user_named(brand, "member", "0")

    before = await explain_user(ctx, brand, user)
    [track] = [each for each in before.tracks if each.key == "lifecycle"]
    assert track.stands is not None
    assert (track.stage, track.stands.key, track.stands.because) == (
        "growth",
        "dormant",
        "last interaction 64 days ago; dormant from 30",
    )
    assert [(s.key, s.tried, s.held) for s in track.stages] == [
        ("lost", True, False), ("dormant", True, False), ("mature", True, False), ("growth", True, True),
        ("intro", False, True),
    ]  # fmt: skip
    assert track.stages[-1].because == "always", "its own reason, no order yet, would not be true"
    dormant = track.stages[1]
    assert dormant.because == dormant.condition.text == "silent >= 30 (is 0)"
    assert (dormant.facts[0].name, dormant.facts[0].value) == ("silent", 0)
    assert dormant.params["dormant_days"] == 30

    await decide_users(ctx, brand.id)
    after = await explain_user(ctx, brand, user)
    assert after.tracks[0].stage == (await UserStage.get(user_id=user, track="lifecycle")).stage == track.stage
    kept = await TagAssignment.filter(user_id=user).count()
    assert len([t for t in before.tags if t.held]) == len([t for t in after.tags if t.stands]) == kept > 0
    assert all((tag.stands is not None) == tag.held for tag in after.tags)
    assert after.tracks[0].stands is not None
    assert after.tracks[0].stands.version == after.version == before.version


async def test_a_past_moment_is_explained_beside_what_stood_then(ctx: Context, brand: Brand) -> None:
    await plugins.enable(ctx, brand, "lifecycle")
    await record(ctx, brand, [order("a", "1", 0), order("b", "2", 40)])
    await brand.refresh_from_db()
    await refresh(ctx, brand.id)
    await record(ctx, brand, [order("c", "1", 50)])
    await brand.refresh_from_db()
    await decide_users(ctx, brand.id)
    user = await user_named(brand, "member", "1")
    [then, _] = (await explain_user(ctx, brand, user, NOW + timedelta(days=45))).tracks
    [now, _] = (await explain_user(ctx, brand, user)).tracks
    assert then.stands is not None
    assert now.stands is not None
    assert (then.stage, then.stands.key, now.stage, now.stands.key) == ("dormant", "dormant", "growth", "growth")
    [early, _] = (await explain_user(ctx, brand, user, NOW + timedelta(days=1))).tracks
    assert (early.stage, early.stands) == ("growth", None)


async def test_what_stands_without_its_rule_is_named(ctx: Context, brand: Brand) -> None:
    await plugins.enable(ctx, brand, "lifecycle")
    await record(ctx, brand, [order("a", "1", 0)])
    await brand.refresh_from_db()
    await refresh(ctx, brand.id)
    await plugins.disable(ctx, brand, "lifecycle")
    found = await explain_user(ctx, brand, await user_named(brand, "member", "1"))
    assert (found.tags, found.tracks) == ((), ())
    assert [gone.track for gone in found.gone] == ["lifecycle", "relationship"]


async def test_nobody_of_that_name_and_no_moment_without_a_zone(ctx: Context, brand: Brand) -> None:
    with pytest.raises(NotFound, match="member=9"):
        await user_named(brand, "member", "9")
    with pytest.raises(NotFound):
        await explain_user(ctx, brand, 9)
    await record(ctx, brand, [order("a", "1", 0)])
    with pytest.raises(NotFound, match="nothing was known"):
        await explain_user(ctx, brand, await user_named(brand, "member", "1"), NOW - timedelta(days=1))
    with pytest.raises(InputError, match="time zone"):
        await explain_user(ctx, brand, 9, datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InputError, match="at the end of time"):
        await explain_user(ctx, brand, 9, datetime.max.replace(tzinfo=UTC))
