"""A change of settings holds for a share of the users, is widened, and is undone as though it had never been."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from siyu.contract.errors import InputError, NotFound
from siyu.engine.cohorts import BUCKETS, bucket
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.explain import explain
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on
from siyu.flow.preview import preview
from siyu.flow.refresh import refresh
from siyu.store.decisions import Decisions
from siyu.store.models import (
    Action,
    Brand,
    Identity,
    RulebookVersion,
    SettingChange,
    StageHistory,
    Tag,
    TagAssignment,
    TagHistory,
    UserStage,
)

from tests.core.conftest import new_brand
from tests.core.flow.test_decide import (
    CAST,
    END,
    EXAMPLES,
    assert_counters,
    histories,
    history,
    labels,
    lifecycles,
    standing,
)

SOONER = {"lifecycle": {"dormant_days": 20, "lost_days": 60}}
CHANGES: list[tuple[str, str, Any]] = [
    ("configure", "lifecycle", SOONER),
    ("configure", "lifecycle", {"lifecycle": {"variant": "four"}}),
    # Who is no longer dormant may not be so again for a fortnight: not so who was put there by the change alone.
    ("configure", "lifecycle", {"lifecycle": {"dormant_days": 200, "lost_days": 400}}),
    ("disable", "lifecycle", None),
    ("configure", "rfm", {"rfm": {"bins": 3}}),
    ("disable", "rfm", None),
    ("enable", "interest", None),
    ("enable", "beauty", None),
]


async def change(house: Context, brand: Brand, what: str, name: str, params: Any, percent: int = BUCKETS) -> None:
    if what == "configure":
        await plugins.configure(house, brand, name, params, percent=percent)
    else:
        await (plugins.enable if what == "enable" else plugins.disable)(house, brand, name, percent=percent)


async def brand_of(house: Context, seed: int, members: int = 12) -> Brand:
    return await brand_after(house, history(seed, members=members))


async def brand_after(house: Context, events: list[IncomingEvent]) -> Brand:
    """A brand with a past, decided at two moments, so that there is history to lose."""
    brand = await new_brand()
    for name in ("rfm", "lifecycle"):
        await plugins.enable(house, brand, name)
    await record(house, brand, events)
    await refresh(house, brand.id, at=END - timedelta(days=40))
    await refresh(house, brand.id)
    await brand.refresh_from_db()
    return brand


async def everything(brand: Brand) -> list[Counter[tuple[Any, ...]]]:
    """All decisions and all their history, but for the ids of the rows."""
    found = []
    for model in (TagAssignment, UserStage, TagHistory, StageHistory):
        rows = await model.filter(brand_id=brand.id).values()
        found.append(
            Counter(tuple(value for name, value in row.items() if name not in ("id", "held_id")) for row in rows)
        )
    return found


def held(decisions: pl.DataFrame) -> dict[int, dict[str, Any]]:
    """What each user has, and since when."""
    rows = decisions.iter_rows(named=True)
    return {row["user_id"]: {name: value for name, value in row.items() if value not in (None, False)} for row in rows}


async def test_what_is_the_same_for_all_is_no_roll_out(house: Context) -> None:
    brand = await brand_of(house, 5)
    changes = await SettingChange.filter(brand_id=brand.id).count()
    row = await plugins.enable(house, brand, "lifecycle", percent=20)
    assert (row.enabled, row.base, row.percent) == (True, None, BUCKETS)
    assert await SettingChange.filter(brand_id=brand.id).count() == changes
    await plugins.configure(house, brand, "lifecycle", SOONER, percent=20)
    row = await plugins.configure(house, brand, "lifecycle", {}, percent=20)
    assert (row.params, row.base, row.percent) == ({}, None, BUCKETS)


@given(first=st.integers(1, 2**40), percent=st.integers(1, BUCKETS))
def test_of_users_in_a_row_as_many_are_first_as_was_said(first: int, percent: int) -> None:
    inside = sum(bucket(user) < percent for user in range(first, first + 1000))
    assert abs(inside - 10 * percent) <= 10


async def test_a_change_holds_for_some_then_for_more_then_for_all(house: Context) -> None:
    today, sooner, partly = [await brand_of(house, 5, members=40) for _ in range(3)]
    await change(house, sooner, "configure", "lifecycle", SOONER)
    await refresh(house, sooner.id)
    expected = [labels(await standing(brand)) for brand in (today, sooner)]
    assert expected[0] != expected[1]
    numbers = {row.value: row.user_id for row in await Identity.filter(brand_id=partly.id)}

    async def assert_holds_below(percent: int) -> None:
        assert labels(await standing(partly)) == {
            member: expected[bucket(numbers[member]) < percent][member] for member in expected[0]
        }
        await assert_counters(partly)
        await partly.refresh_from_db()
        assert [below for below, _ in partly.rulebooks] == sorted({percent, BUCKETS})
        # Every decision names the rulebook that made it: only the change put some of these into dormancy.
        versions = {row.id: row.content["settings"]["lifecycle"]["params"] for row in await RulebookVersion.all()}
        names = {number: name for name, number in numbers.items()}
        for row in await UserStage.filter(brand_id=partly.id, track="lifecycle", stage="dormant"):
            if expected[0][names[row.user_id]][1]["lifecycle"] != "dormant":
                assert versions[row.rulebook_id]["lifecycle"]["dormant_days"] == 20

    await change(house, partly, "configure", "lifecycle", SOONER, percent=30)
    await refresh(house, partly.id)
    await assert_holds_below(30)
    await plugins.roll_out(house, partly, "lifecycle", 70)
    await refresh(house, partly.id)
    await assert_holds_below(70)
    assert (await refresh(house, partly.id)).changes == 0

    # Single users, after an event, as much as the whole brand.
    events = [IncomingEvent(f"late-{m}", "profile.updated", {"member": m}, {}, END) for m in numbers]
    await record(house, partly, events)
    assert (await decide_users(house, partly.id)).changes == 0
    for number in numbers.values():
        shown = await explain(house, partly, number)
        assert shown.version == (await RulebookVersion.get(id=partly.rulebooks[bucket(number) >= 70][1])).version

    await plugins.roll_out(house, partly, "lifecycle", 100)
    await refresh(house, partly.id)
    await assert_holds_below(100)


@pytest.mark.usefixtures("one_day")
@pytest.mark.parametrize("percent", [45])
@pytest.mark.parametrize("what", CHANGES, ids=lambda what: f"{what[0]}-{what[1]}")
async def test_what_a_preview_says_of_some_users_is_what_happens_to_them(
    house: Context, what: tuple[str, str, Any], percent: int
) -> None:
    brand = await brand_of(house, 6, members=30)
    # Another change is under way for others.
    await change(house, brand, "enable", "pets", None, percent=40)
    await refresh(house, brand.id)
    verb, name, params = what
    enabled = None if verb == "configure" else verb == "enable"
    foreseen = await preview(house, brand, name, enabled=enabled, params=params, percent=percent)
    before = labels(await standing(brand))
    await carry_on(house, brand.id)
    await change(house, brand, verb, name, params, percent)
    await refresh(house, brand.id)
    after = labels(await standing(brand))
    assert foreseen.actions.now == (await carry_on(house, brand.id)).actions
    for effect in foreseen.tags:
        had, has = ({m for m, (tags, _) in side.items() if effect.key in tags} for side in (before, after))
        assert (effect.today, effect.proposed) == (len(had), len(has))
        assert (effect.enter.users, effect.leave.users) == (len(has - had), len(had - has))
    for effect in foreseen.stages:
        had, has = (
            {m for m, (_, at) in side.items() if at.get(effect.track or "") == effect.key} for side in (before, after)
        )
        assert (effect.today, effect.proposed) == (len(had), len(has))
        assert (effect.enter.users, effect.leave.users) == (len(has - had), len(had - has))
        assert len(effect.enter.samples) == min(5, effect.enter.users)


changes = st.one_of(
    st.sampled_from(
        [
            ("disable", "lifecycle", None),
            ("disable", "rfm", None),
            ("enable", "interest", None),
            ("enable", "beauty", None),
        ]
    ),
    st.builds(
        lambda params, stay: ("configure", "lifecycle", {"lifecycle": {**params, "stay_days": stay}}),
        lifecycles,
        st.integers(0, 30),
    ),
    st.builds(lambda bins: ("configure", "rfm", {"rfm": {"bins": bins}}), st.integers(2, 8)),
)
steps = st.lists(st.tuples(changes, st.sampled_from([BUCKETS, 50, 20]), st.booleans()), min_size=1, max_size=4)


@pytest.mark.examples
@EXAMPLES
@given(events=histories(), steps=steps, back=st.tuples(*[st.booleans()] * 4))
async def test_undone_is_as_it_was(
    house: Context, events: list[IncomingEvent], steps: list[tuple[Any, int, bool]], back: tuple[bool, ...]
) -> None:
    brand = await brand_after(house, events)
    was, actions = await everything(brand), await Action.filter(brand_id=brand.id).count()
    ids = await UserStage.filter(brand_id=brand.id).order_by("id").values_list("id", "user_id")
    tags = {row.key: row.users for row in await Tag.filter(brand_id=brand.id)}
    assert len(ids) >= len({event.user["member"] for event in CAST})
    made: list[tuple[str, bool]] = []
    decided = False
    for (verb, name, params), percent, refreshed in steps:
        before = await SettingChange.filter(brand_id=brand.id).count()
        await change(house, brand, verb, name, params, percent)
        # What was set already is no change, and has nothing to undo.
        if await SettingChange.filter(brand_id=brand.id).count() > before:
            made.append((name, decided))
            decided = False
        if refreshed:
            await refresh(house, brand.id)
            decided = True
    await refresh(house, brand.id)
    if any(what[0] == "disable" and percent == BUCKETS for what, percent, _ in steps):
        assert await everything(brand) != was
    sent = await Action.filter(brand_id=brand.id).count()
    for (name, decided), refreshed in zip(reversed(made), back, strict=False):
        await plugins.undo(house, brand, name)
        # What was decided between two changes is given back between their undos, see below.
        if refreshed or decided:
            await refresh(house, brand.id)
    await refresh(house, brand.id)
    assert await everything(brand) == was
    assert await UserStage.filter(brand_id=brand.id).order_by("id").values_list("id", "user_id") == ids, (
        "as old as it was"
    )
    async with house.db.connection() as connection:
        decisions = Decisions(house.home, brand.id)
        kept = await decisions.of_all(connection)
        await decisions.forget(connection)
        assert held(kept) == held(await decisions.of_all(connection)), "the snapshot says what the tables say"
    assert {row.key: row.users for row in await Tag.filter(brand_id=brand.id, key__in=list(tags))} == tags
    await assert_counters(brand)
    assert await Action.filter(brand_id=brand.id).count() == sent >= actions, "what is given back sets off nothing"
    assert (await refresh(house, brand.id)).changes == 0
    assert not await SettingChange.filter(brand_id=brand.id).exclude(restores=None)


@pytest.mark.usefixtures("rows")
async def test_two_changes_that_were_decided_apart_are_undone_one_at_a_time(house: Context) -> None:
    brand = await brand_after(house, CAST)
    was = await everything(brand)
    for variant in ("four", "five"):
        await change(house, brand, "configure", "lifecycle", {"lifecycle": {"variant": variant, "stay_days": 0}})
        await refresh(house, brand.id)
    await plugins.undo(house, brand, "lifecycle")
    with pytest.raises(InputError, match="not given back yet"):
        await plugins.undo(house, brand, "lifecycle")
    await refresh(house, brand.id)
    await plugins.undo(house, brand, "lifecycle")
    await refresh(house, brand.id)
    assert labels(await standing(brand))
    assert await everything(brand) == was


async def test_a_minimum_stay_does_not_hold_whom_a_change_has_put_there(house: Context) -> None:
    brand = await brand_of(house, 2, members=30)
    was = await everything(brand)
    later = {"lifecycle": {"dormant_days": 200, "lost_days": 400}}
    await plugins.configure(house, brand, "lifecycle", later)
    assert (await refresh(house, brand.id)).changes > 3
    await plugins.undo(house, brand, "lifecycle")
    await refresh(house, brand.id)
    assert await everything(brand) == was


async def test_an_undo_reaches_a_user_who_is_decided_before_the_refresh(house: Context) -> None:
    brand = await brand_of(house, 7)
    was = await everything(brand)
    await change(house, brand, "configure", "lifecycle", {"lifecycle": {"variant": "four"}})
    await change(house, brand, "configure", "rfm", {"rfm": {"bins": 3}})
    await refresh(house, brand.id)
    for name in ("rfm", "lifecycle"):
        await plugins.undo(house, brand, name)
    members = [row.value for row in await Identity.filter(brand_id=brand.id)]
    # An event that no rule cares for: only the undo changes anything.
    await record(house, brand, [IncomingEvent(m, "profile.updated", {"member": m}, {}, END) for m in members])
    assert (await decide_users(house, brand.id)).changes > 0
    assert (await everything(brand))[1::2] == was[1::2]
    await refresh(house, brand.id)
    assert await everything(brand) == was


async def test_an_undo_leaves_what_events_have_made_since(house: Context) -> None:
    brand = await new_brand()
    await plugins.configure(house, brand, "lifecycle", {"lifecycle": {"stay_days": 0}})
    await plugins.enable(house, brand, "lifecycle")
    order = IncomingEvent("1", "order.paid", {"member": "1"}, {"amount": 5}, END - timedelta(days=25))
    await record(house, brand, [order, IncomingEvent("2", "article.opened", {"member": "2"}, {}, END)])
    await refresh(house, brand.id)
    await plugins.configure(house, brand, "lifecycle", {"lifecycle": {"stay_days": 0, **SOONER["lifecycle"]}})
    await refresh(house, brand.id)
    back = END + timedelta(days=1)
    await record(house, brand, [IncomingEvent("3", "order.paid", {"member": "1"}, {"amount": 5}, back)])
    await decide_users(house, brand.id)
    await plugins.undo(house, brand, "lifecycle")
    await refresh(house, brand.id)
    buyer = (await Identity.get(brand_id=brand.id, value="1")).user_id
    stands = await UserStage.get(brand_id=brand.id, user_id=buyer, track="lifecycle")
    past = await StageHistory.filter(brand_id=brand.id, user_id=buyer, track="lifecycle").order_by("id")
    assert (stands.stage, stands.since) == ("growth", back)
    assert [row.stage for row in past] == ["growth", "dormant"], "it was, and a message may have followed from it"


async def test_who_was_left_out_of_a_trial_lives_on_by_what_was_learned_of_all(house: Context) -> None:
    brand = await brand_of(house, 9)
    await plugins.disable(house, brand, "rfm", percent=99)
    await refresh(house, brand.id)
    had = labels(await standing(brand))
    await plugins.undo(house, brand, "rfm")
    members = [row.value for row in await Identity.filter(brand_id=brand.id) if bucket(row.user_id) == 99]
    left_out = members or [row.value for row in await Identity.filter(brand_id=brand.id)][:1]
    await record(house, brand, [IncomingEvent(m, "profile.updated", {"member": m}, {}, END) for m in left_out])
    await decide_users(house, brand.id)
    now = labels(await standing(brand))
    assert all(now[member][0] >= had[member][0] for member in left_out), "no refresh has been, and nobody lost a tag"


async def test_a_change_from_before_marks_were_kept_is_undone_without_them(house: Context) -> None:
    brand = await brand_of(house, 10)
    was = await everything(brand)
    await change(house, brand, "configure", "lifecycle", {"lifecycle": {"variant": "four"}})
    await refresh(house, brand.id)
    await SettingChange.filter(brand_id=brand.id).update(mark=0)
    await plugins.undo(house, brand, "lifecycle")
    assert not await SettingChange.filter(brand_id=brand.id).exclude(restores=None)
    await refresh(house, brand.id)
    assert (await everything(brand))[0] == was[0]
    assert sum((await everything(brand))[3].values()) > sum(was[3].values()), "what was in between is history"


async def test_many_changes_at_once_are_made_one_after_the_other(house: Context) -> None:
    brand = await new_brand()
    number = 2 * house.db.connections()["allowed"]
    days = range(30, 30 + number)
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(plugins.configure(house, brand, "lifecycle", {"lifecycle": {"dormant_days": day}}) for day in days)
        )
    made = await SettingChange.filter(brand_id=brand.id).order_by("id")
    assert len(made) == number
    assert all(later.before == earlier.after for earlier, later in pairwise(made))


async def test_off_for_all_is_off_for_those_who_were_left_out_too(house: Context) -> None:
    brand = await brand_of(house, 8)
    await change(house, brand, "configure", "rfm", {"rfm": {"bins": 3}}, percent=30)
    await plugins.disable(house, brand, "rfm")
    await refresh(house, brand.id)
    assert not await TagAssignment.filter(brand_id=brand.id)
    with pytest.raises(NotFound, match="no change of rfm is being rolled out"):
        await plugins.roll_out(house, brand, "rfm", 50)


@pytest.mark.parametrize("percent", [0, -1, 101])
async def test_a_percentage_is_one(house: Context, percent: int) -> None:
    with pytest.raises(InputError, match="use 1 to 100"):
        await plugins.enable(house, await new_brand(), "rfm", percent=percent)
