"""Step 2: whatever way events come and decisions are asked for, the decisions are the same."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from siyu.engine import diff
from siyu.flow import decide, plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.preview import preview
from siyu.flow.refresh import AlreadyRunning, judge, refresh
from siyu.store import db, decisions, lake
from siyu.store.db import Lock
from siyu.store.events import EVENT_SCHEMA, append
from siyu.store.models import (
    Brand,
    DirtyUser,
    Identity,
    Run,
    Stage,
    StageHistory,
    Tag,
    TagAssignment,
    TagHistory,
    UserStage,
)

from tests.core.conftest import new_brand
from tests.properties import examples

# What is done in another way for a few than for many.
SIZES = [
    (decide, "HANDFUL"),
    (decide, "FEW"),
    (decide, "SOME"),
    (diff, "FEW"),
    (decisions, "FEW"),
    (lake, "FEW"),
    (db, "AT_ONCE"),
]
END = datetime(2026, 11, 21, 12, tzinfo=UTC)
Standing = Mapping[str, tuple[Mapping[str, str], Mapping[str, tuple[str, str]]]]


def history(seed: int, *, members: int = 12, events: int = 90) -> list[IncomingEvent]:
    """A year and a half of some members; the last of all happens at END."""
    dice = random.Random(seed)
    found = [IncomingEvent("end", "article.opened", {"member": "reader"}, {}, END)]
    for number in range(events):
        choices: list[tuple[str, dict[str, Any]]] = [
            ("order.paid", {"amount": str(dice.randrange(1, 10**5) / 100)}),
            ("order.paid", {"amount": "57.00", "items": [{"category": "tea"}]}),
            ("article.opened", {"topic": "tea"}),
            ("profile.updated", {"skin": dice.choice(["oily", None])}),
            ("profile.updated", {}),
            ("campaign.received", {"campaign": "c"}),
        ]
        kind, payload = dice.choice(choices)
        at = END - timedelta(days=dice.randrange(500), seconds=dice.randrange(3))
        # Some have bought a great deal lately, some only long ago.
        member = int(dice.random() ** 2 * members)
        found.append(IncomingEvent(f"e{number}", kind, {"member": str(member)}, payload, at))
    return found


def happened(member: object, number: object, what: tuple[str, Any], days: int, seconds: int = 0) -> IncomingEvent:
    """What a member did so many days before END."""
    at = END - timedelta(days=days, seconds=seconds)
    return IncomingEvent(f"{member}-{number}", what[0], {"member": str(member)}, what[1], at)


LINE = ("order.paid", {"amount": "57.00", "items": [{"category": "爽肤水"}, {"category": "猫粮"}]})
ORDER = ("order.paid", {"amount": "20.00"})
HAPPENINGS = st.sampled_from(
    [
        ORDER,
        LINE,
        ("order.paid", {"amount": "999.99"}),
        ("article.opened", {"topic": "tea"}),
        ("contact.added", {}),
        ("contact.removed", {}),
        ("campaign.received", {"campaign": "c"}),
        ("profile.updated", {}),
        ("profile.updated", {"skin_type": "油皮", "birthday": "1990-02-28", "member": "true"}),
        ("profile.updated", {"skin_type": None, "member": "no", "pet": "猫"}),
    ]
)
CAST = [
    happened("reader", "end", ("article.opened", {}), 0),
    *(happened("regular", days, ORDER, days) for days in (3, 10, 17, 24)),
    happened("newcomer", 1, LINE, 5),
    happened("sleeper", 1, ORDER, 40),
    happened("lost", 1, LINE, 300),
]
"""Some whom every history has, the newest event first: in each stage there is somebody."""


@st.composite
def histories(draw: st.DrawFn, most: int = 25) -> list[IncomingEvent]:
    """What happened in a year and a half to the cast and to four others."""
    members, days, seconds = st.integers(0, 3), st.integers(0, 500), st.integers(0, 2)
    drawn = draw(st.lists(st.tuples(members, HAPPENINGS, days, seconds), max_size=most))
    return [*CAST, *(happened(who, number, what, *when) for number, (who, what, *when) in enumerate(drawn))]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[IncomingEvent], list[list[IncomingEvent]]]:
    """A history, and how it comes in: the newest event first, the others in any order, in parts, some of them again."""
    events = draw(histories())
    order = [events[0], *draw(st.permutations(events[1:]))]
    cuts = sorted(draw(st.lists(st.integers(1, len(order)), max_size=4)))
    again = draw(st.lists(st.sampled_from(order), max_size=4))
    spans = zip([0, *cuts], [*cuts, len(order)], strict=True)
    return events, [[*order[start:end], *(each for each in again if each in order[:end])] for start, end in spans]


lifecycles = st.fixed_dictionaries(
    {
        "variant": st.sampled_from(["five", "four"]),
        "dormant_days": st.integers(6, 40),
        "lost_days": st.integers(41, 300),
        "mature_orders": st.integers(2, 4),
    }
)


async def brand_with(house: Context, name: str) -> Brand:
    """A brand with both plugins on, set so that decisions depend on nothing but events and the moment."""
    brand = await Brand.create(slug=name, name=name, replayed_to=datetime.fromtimestamp(0, UTC))
    await plugins.enable(house, brand, "rfm")
    await plugins.enable(house, brand, "lifecycle")
    await plugins.configure(house, brand, "rfm", {"rfm": {"method": "fixed"}})
    await plugins.configure(house, brand, "lifecycle", {"lifecycle": {"stay_days": 0, "mature_orders": 3}})
    await refresh(house, brand.id)
    return brand


async def standing(brand: Brand) -> Standing:
    """Tags and stages with their reasons, by member."""
    names = {row.user_id: row.value for row in await Identity.filter(brand_id=brand.id)}
    keys = {tag.id: tag.key for tag in await Tag.filter(brand_id=brand.id)}
    found: dict[str, tuple[dict[str, str], dict[str, tuple[str, str]]]] = {name: ({}, {}) for name in names.values()}
    for row in await TagAssignment.filter(brand_id=brand.id):
        found[names[row.user_id]][0][keys[row.tag_id]] = row.why
    for stage in await UserStage.filter(brand_id=brand.id):
        found[names[stage.user_id]][1][stage.track] = (stage.stage, stage.why)
    return found


def labels(decisions: Standing) -> dict[str, tuple[set[str], dict[str, str]]]:
    return {m: (set(tags), {track: s for track, (s, _) in stages.items()}) for m, (tags, stages) in decisions.items()}


async def decide_all(house: Context, brand: Brand, limit: int = 7) -> int:
    users = 0
    while (done := await decide_users(house, brand.id, limit=limit)).users:
        users += done.users
    return users


async def assert_counters(brand: Brand) -> None:
    for tag in await Tag.filter(brand_id=brand.id):
        assert tag.users == await TagAssignment.filter(brand_id=brand.id, tag_id=tag.id).count()
    for stage in await Stage.filter(brand_id=brand.id):
        own = UserStage.filter(brand_id=brand.id, track=stage.track, stage=stage.key)
        assert stage.users == await own.count()


# Each is a brand of its own in the database of the module. What is drawn is drawn before the test: within a coroutine
# Hypothesis cannot break off.
EXAMPLES = settings(
    max_examples=examples(10),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


@pytest.mark.examples
@EXAMPLES
@given(
    arrival=arrivals(),
    lifecycle=lifecycles,
    more=st.sets(st.sampled_from(["beauty", "pets"])),
    few=st.sampled_from([0, 10**6]),
    rows=st.sampled_from([0, 10**6]),
    limit=st.sampled_from([100, 3]),
)
async def test_events_piecemeal_in_any_order_or_twice_give_the_decisions_of_all_at_once(
    house: Context,
    arrival: tuple[list[IncomingEvent], list[list[IncomingEvent]]],
    lifecycle: dict[str, Any],
    more: set[str],
    few: int,
    rows: int,
    limit: int,
) -> None:
    events, parts = arrival

    async def brand() -> Brand:
        # Nothing but events and the moment decides: no quantiles, and no stay.
        made = await new_brand()
        await plugins.configure(house, made, "rfm", {"rfm": {"method": "fixed"}})
        await plugins.configure(house, made, "lifecycle", {"lifecycle": {**lifecycle, "stay_days": 0}})
        for name in ("rfm", "lifecycle", *sorted(more)):
            await plugins.enable(house, made, name)
        return made

    whole = await brand()
    await record(house, whole, events)
    await refresh(house, whole.id)
    expected = labels(await standing(whole))
    stages = {stages["lifecycle"] for _, stages in expected.values()}
    assert stages >= {"growth", "mature", *(["dormant", "lost"] if lifecycle["variant"] == "five" else ["decline"])}

    piecemeal = await brand()
    await refresh(house, piecemeal.id)
    with pytest.MonkeyPatch.context() as patch:
        for module, name in SIZES:
            patch.setattr(module, name, few)
        patch.setattr(decide, "FEW_ROWS", rows)
        for part in parts:
            await record(house, piecemeal, part)
            await decide_all(house, piecemeal, limit)
        assert labels(await standing(piecemeal)) == expected
        await assert_counters(piecemeal)
        assert (await record(house, piecemeal, events)).new == 0
        assert await decide_all(house, piecemeal, limit) == 0
        assert (await refresh(house, piecemeal.id)).changes == 0
    assert await DirtyUser.filter(brand_id=piecemeal.id).count() == 0


async def test_a_plugin_is_switched_off_for_one_brand_and_on_again(house: Context) -> None:
    one, other = await brand_with(house, "one"), await brand_with(house, "other")
    for brand in (one, other):
        await record(house, brand, history(4))
        await refresh(house, brand.id)
    before = await standing(one)
    assert before == await standing(other)

    await plugins.disable(house, one, "rfm", by="me")
    await refresh(house, one.id, at=END + timedelta(hours=1))
    off = await standing(one)
    assert all(not tags for tags, _ in off.values())
    assert {member: stages for member, (_, stages) in off.items()} == {m: stages for m, (_, stages) in before.items()}
    assert await standing(other) == before
    assert not any(tag.active or tag.users for tag in await Tag.filter(brand_id=one.id))

    await plugins.enable(house, one, "rfm", by="me")
    await refresh(house, one.id, at=END + timedelta(hours=2))
    assert await standing(one) == before
    assert await standing(other) == before
    ended = await TagHistory.filter(brand_id=one.id)
    assert len(ended) == sum(len(tags) for tags, _ in before.values())
    assert {(row.since, row.until) for row in ended} == {(END, END + timedelta(hours=1))}
    assert {row.since for row in await TagAssignment.filter(brand_id=one.id)} == {END + timedelta(hours=2)}
    assert not await TagHistory.filter(brand_id=other.id).exists()
    assert not await StageHistory.filter(brand_id=one.id).exists()
    await assert_counters(one)


async def test_without_its_snapshot_and_its_lake_a_brand_is_decided_the_same(house: Context) -> None:
    brand = await brand_with(house, "forgetful")
    await record(house, brand, history(5))
    await refresh(house, brand.id, seal_from=1)
    shutil.rmtree(house.home / "lake" / str(brand.id))
    assert (await refresh(house, brand.id, seal_from=1)).changes == 0


async def test_events_that_come_while_a_brand_is_refreshed_are_left_to_the_next_decision(
    house: Context, house_url: str
) -> None:
    brand = await brand_with(house, "busy")
    await record(house, brand, history(6))
    await refresh(house, brand.id)
    # Another set of stages, so that what stood and what stands are of two kinds.
    await plugins.configure(
        house, brand, "lifecycle", {"lifecycle": {"stay_days": 0, "mature_orders": 3, "variant": "four"}}
    )
    late = [IncomingEvent(f"late{n}", "order.paid", {"member": str(n)}, {"amount": "999"}, END) for n in (1, 2, 99)]

    def meanwhile(phase: str, _: float) -> None:
        if phase == "facts":
            thread = Thread(target=asyncio.run, args=(elsewhere(),))
            thread.start()
            thread.join()

    async def elsewhere() -> None:
        # As another process would: with connections and models of its own.
        rows = [(e.id, e.kind, e.at, "member", e.user["member"], '{"amount": 999}') for e in late]
        connection = await asyncpg.connect(house_url)
        async with connection.transaction():
            await append(connection, brand.id, pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row"))
        await connection.close()

    before = await standing(brand)
    await refresh(house, brand.id, progress=meanwhile)
    after = await standing(brand)
    # What the run knew of those two is out of date already.
    assert {member for member in before if after[member] == before[member]} >= {"1", "2"}
    assert {stage for _, held in after.values() for stage, _ in held.values()} >= {"decline"}
    assert await DirtyUser.filter(brand_id=brand.id).count() == 3
    assert await decide_all(house, brand) == 3
    # Nothing of it was lost or is out of step: all again, from what is kept and from nothing, changes nothing.
    assert (await refresh(house, brand.id)).changes == 0
    await assert_counters(brand)
    fresh = await brand_with(house, "fresh")
    await plugins.configure(
        house, fresh, "lifecycle", {"lifecycle": {"stay_days": 0, "mature_orders": 3, "variant": "four"}}
    )
    await record(house, fresh, [*history(6), *late])
    await refresh(house, fresh.id)
    assert labels(await standing(fresh)) == labels(await standing(brand))


async def test_what_others_decide_while_a_brand_is_refreshed_is_what_it_compares_with(
    house: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand = await brand_with(house, "overtaken")
    await record(house, brand, history(7))
    await refresh(house, brand.id)
    stood = await standing(brand)
    late = [IncomingEvent(f"late{n}", "article.opened", {"member": str(n)}, {}, END) for n in range(100)]
    await record(house, brand, late)
    read, of_all = asyncio.Event(), decisions.Decisions.of_all

    async def noted(*args: Any) -> pl.DataFrame:
        found = await of_all(*args)
        read.set()
        return found

    async def judged(*args: Any, **options: Any) -> Any:
        await read.wait()
        assert await decide_all(house, brand) == 100
        return await judge(*args, **options)

    monkeypatch.setattr(decisions.Decisions, "of_all", noted)
    monkeypatch.setattr("siyu.flow.refresh.judge", judged)
    assert (await refresh(house, brand.id)).changes == 0
    assert len(await standing(brand)) > len(stood)
    await assert_counters(brand)


async def test_a_brand_is_refreshed_by_one_at_a_time(house: Context, shop: Brand) -> None:
    async with house.db.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock($1, $2)", Lock.REFRESH, shop.id)
        with pytest.raises(AlreadyRunning, match="wait for the run to end"):
            await refresh(house, shop.id)
        await connection.execute("SELECT pg_advisory_unlock($1, $2)", Lock.REFRESH, shop.id)
    await refresh(house, shop.id)
    [run] = await Run.filter(brand_id=shop.id)
    assert (run.status, run.progress) == ("done", 1.0)


async def test_users_whose_events_all_lie_ahead_are_not_decided_by_anybody_yet(house: Context) -> None:
    live = await Brand.create(slug="live", name="Live")
    await plugins.enable(house, live, "lifecycle")
    now = datetime.now(UTC)
    given = [
        IncomingEvent("a", "order.paid", {"member": "ahead"}, {"amount": "1"}, now + timedelta(hours=5)),
        IncomingEvent("b", "order.paid", {"member": "here"}, {"amount": "1"}, now - timedelta(hours=5)),
    ]
    await record(house, live, given)
    await decide_all(house, live)
    assert labels(await standing(live)) == {
        "ahead": (set(), {}),
        "here": (set(), {"lifecycle": "growth", "relationship": "potential"}),
    }
    assert (await refresh(house, live.id)).changes == 0


async def test_whoever_asks_again_while_a_brand_is_refreshed_is_served_by_the_next(house: Context) -> None:
    brand = await brand_with(house, "asked")
    assert (await Brand.get(id=brand.id)).refresh_asked is None
    await plugins.enable(house, brand, "rfm")
    asked = (await Brand.get(id=brand.id)).refresh_asked
    assert asked is not None
    async with house.db.connection() as connection:
        query = "UPDATE brand SET refresh_asked = clock_timestamp() WHERE id = $1"
        waiting: list[Any] = []

        def again(phase: str, _: float) -> None:
            if phase == "write":
                waiting.append(asyncio.ensure_future(connection.execute(query, brand.id)))

        await refresh(house, brand.id, progress=again)
        await asyncio.gather(*waiting)
    await brand.refresh_from_db()
    assert brand.refresh_asked is not None
    assert brand.refresh_asked > asked
    await refresh(house, brand.id)
    await brand.refresh_from_db()
    assert brand.refresh_asked is None


@pytest.mark.parametrize("name", ["Asia/Shanghai", "America/New_York"])
async def test_between_two_midnights_time_alone_changes_nothing(house: Context, name: str) -> None:
    brand = await new_brand()
    await Brand.filter(id=brand.id).update(zone=name)
    for each in ("rfm", "lifecycle", "interest", "mother_baby", "beauty", "pets"):
        await plugins.enable(house, brand, each)
    await record(house, brand, history(11))
    zone, changes = ZoneInfo(name), []
    for day in range(0, 60, 6):
        midnight = datetime.combine((END + timedelta(days=1 + day)).astimezone(zone).date(), time(), zone)
        following = datetime.combine(midnight.date() + timedelta(days=1), time(), zone)
        changes.append((await refresh(house, brand.id, at=midnight)).changes)
        assert (await refresh(house, brand.id, at=following - timedelta(microseconds=1))).changes == 0
    assert sum(changes[1:]) > 10, "midnight changes something"


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_brand_in_shards_is_decided_as_in_one_piece(house: Context, seed: int) -> None:
    whole, shards = [await brand_with(house, f"{name}-{seed}") for name in ("one-piece", "in-shards")]
    events = sorted(history(seed, members=20), key=lambda event: event.at or END)
    expected = []
    # Users come along all the time: the last shard grows, and is cut.
    for until in (len(events) // 3, len(events)):
        for brand in (whole, shards):
            await record(house, brand, events[:until])
        done = [await refresh(house, whole.id), await refresh(house, shards.id, shard=4)]
        assert done[0] == done[1]
        await assert_counters(shards)
        expected.append(await standing(whole))
        assert await standing(shards) == expected[-1]
    assert expected[0] != expected[1]
    [run] = await Run.filter(brand_id=shards.id).order_by("-id").limit(1)
    assert (run.users, run.changes, run.progress) == (done[1].users, done[1].changes, 1.0)
    assert (await refresh(house, shards.id, shard=4)).changes == 0
    assert (await refresh(house, shards.id, shard=7)).changes == 0, "other shards than those that were kept"
    # One who is decided in between is found in the snapshot of a shard.
    late = [IncomingEvent(f"late-{seed}", "order.paid", {"member": "0"}, {"amount": "9999"}, END)]
    for brand in (whole, shards):
        await record(house, brand, late)
        await decide_users(house, brand.id)
    assert (await refresh(house, shards.id, shard=7)).changes == 0
    await shards.refresh_from_db()
    foreseen = await preview(house, shards, "lifecycle", enabled=False)
    left = {effect.key: effect.leave.users for effect in foreseen.stages if effect.leave.users}
    stages = Counter(stage for _, at in labels(await standing(whole)).values() for stage in at.values())
    assert {key: stages[key] for key in left} == left
    assert left
