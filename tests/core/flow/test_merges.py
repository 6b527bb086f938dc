"""Users who turn out to be one person, by events or by hand, and are parted again."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from siyu import InputError, NotFound
from siyu.flow import identities
from siyu.flow import refresh as refreshing
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.explain import explain
from siyu.flow.facts import facts_of_users
from siyu.flow.identities import user_named
from siyu.flow.ingest import IncomingEvent, Recorded, record
from siyu.flow.merging import merge_users, unmerge_users
from siyu.flow.playbooks import carry_on
from siyu.flow.preview import preview
from siyu.flow.refresh import refresh
from siyu.store import lake as lake_module
from siyu.store import merges
from siyu.store.lake import Lake, history_of
from siyu.store.models import (
    Brand,
    Event,
    Identity,
    MergedUser,
    RejectedEvent,
    StageHistory,
    Tag,
    TagAssignment,
    TagHistory,
    User,
    UserMerge,
    UserStage,
)

from tests.core.conftest import new_brand
from tests.core.flow.test_decide import assert_counters, brand_with, decide_all, labels, standing
from tests.properties import examples

END = datetime(2026, 11, 21, 12, tzinfo=UTC)
KINDS = ("openid", "phone", "email")
Names = Mapping[str, str]
_numbers = itertools.count()


def event(key: str, user: Names, *, days: int = 0, kind: str = "article.opened", **payload: Any) -> IncomingEvent:
    return IncomingEvent(key, kind, user, payload, END - timedelta(days=days))


def order(key: str, user: Names, amount: str = "10", *, days: int = 0) -> IncomingEvent:
    return event(key, user, days=days, kind="order.paid", amount=amount)


async def who(brand: Brand) -> dict[tuple[str, str], int]:
    """Whom each name means."""
    into = {row.user_id: row.into_id for row in await MergedUser.filter(brand_id=brand.id)}
    return {
        (row.kind, row.value): into.get(row.user_id, row.user_id) for row in await Identity.filter(brand_id=brand.id)
    }


async def merged(brand: Brand) -> list[UserMerge]:
    return await UserMerge.filter(brand_id=brand.id, undone_at=None).order_by("id")


async def two(house: Context, brand: Brand) -> tuple[int, int]:
    """Two users, the first of whom has bought lately."""
    await record(house, brand, [order("1", {"openid": "o"}, "900", days=1), order("1b", {"openid": "o"}, "90", days=9)])
    await record(house, brand, [order("2", {"phone": "p"}, days=100), event("end", {"member": "reader"})])
    found = await who(brand)
    return found["openid", "o"], found["phone", "p"]


# -- by events ---------------------------------------------------------------------------------------------------------


async def test_an_event_that_names_two_users_by_what_proves_who_they_are_merges_them(
    house: Context, shop: Brand
) -> None:
    one, other = await two(house, shop)
    done = await record(house, shop, [event("3", {"phone": "p", "openid": "o"})])
    assert (done.new, done.rejected) == (1, [])
    assert (await who(shop)) == {("openid", "o"): one, ("phone", "p"): one, ("member", "reader"): other + 1}
    [merge] = await merged(shop)
    assert {merge.user_id, merge.other_id} == {one, other}
    assert merge.by == "event 3"
    assert sorted(map(tuple, merge.names)) == [("openid", "o"), ("phone", "p")]
    # Sent again it says nothing new; and what comes later for either is one person's.
    await record(house, shop, [event("3", {"phone": "p", "openid": "o"}), event("4", {"phone": "p", "email": "e"})])
    assert len(await merged(shop)) == 1
    assert (await who(shop))["email", "e"] == one


async def test_what_the_person_is_comes_from_both(house: Context, shop: Brand) -> None:
    one, _ = await two(house, shop)
    told = [
        event("a", {"openid": "o"}, days=5, kind="profile.updated", skin="oily", city="x"),
        event("b", {"phone": "p"}, days=300, kind="profile.updated", skin="dry", pet="dog"),
    ]
    await record(house, shop, told)
    await record(house, shop, [event("3", {"phone": "p", "openid": "o"}, days=50)])
    user = await User.get(id=one)
    assert user.attributes == {"skin": "oily", "city": "x", "pet": "dog"}
    assert (user.first_seen, user.last_seen) == (END - timedelta(days=300), END - timedelta(days=1))
    await record(house, shop, [event("c", {"phone": "p"}, days=0, kind="profile.updated", skin="mixed")])
    user = await User.get(id=one)
    assert (user.attributes["skin"], user.last_seen) == ("mixed", END)


@pytest.mark.parametrize(
    ("first", "second", "both", "reason"),
    [
        ({"member": "1"}, {"member": "2", "phone": "p"}, {"member": "1", "phone": "p"}, "have the member '1' and '2'"),
        ({"household": "1"}, {"phone": "p"}, {"household": "1", "phone": "p"}, "the identities belong to users"),
        ({"member": "1", "phone": "p"}, {}, {"member": "2", "phone": "p"}, "one person has the member '1' and '2'"),
    ],
)
async def test_what_speaks_against_a_merge_is_reported_and_nobody_is_merged(
    house: Context, shop: Brand, first: Names, second: Names, both: Names, reason: str
) -> None:
    await record(house, shop, [event(str(n), user) for n, user in enumerate((first, second)) if user])
    before = await who(shop)
    done = await record(house, shop, [event("both", both)])
    assert done.new == 0
    [rejection] = done.rejected
    assert reason in rejection.message
    [kept] = await RejectedEvent.filter(brand_id=shop.id)
    assert kept.received["user"] == both
    assert await who(shop) == before
    assert await merged(shop) == []


async def test_a_phone_that_everybody_gives_does_not_make_everybody_one(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "MOST_USERS", 3)
    await record(house, shop, [event(f"a{n}", {"openid": str(n)}) for n in range(6)])
    done = await record(house, shop, [event(f"b{n}", {"openid": str(n), "phone": "shop"}) for n in range(6)])
    assert done.new == 3
    assert all("more than 3 users in one" in rejection.message for rejection in done.rejected)
    assert len(await merged(shop)) == 2


async def test_a_known_event_sent_for_others_merges_nobody(house: Context, shop: Brand) -> None:
    await two(house, shop)
    done = await record(house, shop, [event("1", {"openid": "o", "phone": "p"}), event("new", {"openid": "o"})])
    assert (done.new, done.duplicate, done.rejected) == (1, 1, [])
    assert await merged(shop) == []


async def test_two_brands_with_the_same_names_merge_each_their_own(house: Context, shop: Brand) -> None:
    other = await new_brand()
    for brand in (shop, other):
        await two(house, brand)
    await record(house, shop, [event("3", {"phone": "p", "openid": "o"})])
    assert [len(await merged(brand)) for brand in (shop, other)] == [1, 0]
    assert len(set((await who(other)).values())) == 3
    one, two_ = sorted(set((await who(other)).values()))[:2]
    with pytest.raises(NotFound, match=f"no user {one}"):
        await merge_users(house, shop, one, two_, by="me")
    [merge] = await merged(shop)
    with pytest.raises(NotFound, match=f"no merge {merge.id}"):
        await unmerge_users(house, other, merge.id, by="me")


# -- by hand, and undone -----------------------------------------------------------------------------------------------


async def test_two_users_are_merged_by_hand_and_parted_again(house: Context, shop: Brand) -> None:
    one, other = await two(house, shop)
    before = await who(shop)
    merge = await merge_users(house, shop, other, one, by="me", reason="she said so")
    assert (merge.by, merge.reason, merge.undone_at) == ("me", "she said so", None)
    assert (await who(shop))["phone", "p"] == one
    with pytest.raises(InputError, match="one user already"):
        await merge_users(house, shop, one, other, by="me")
    await record(house, shop, [order("later", {"phone": "p"}, "500")])
    parted = await unmerge_users(house, shop, merge.id, by="you")
    assert parted.users == (other, one)
    assert parted.merge.undone_by == "you"
    assert await who(shop) == before
    # What has come since is whose it was sent for.
    assert (await Event.get(brand_id=shop.id, key="later")).user_id == other
    assert (await User.get(id=other)).last_seen == END
    with pytest.raises(InputError, match="was undone by you"):
        await unmerge_users(house, shop, merge.id, by="me")


async def test_who_were_parted_are_not_merged_by_events_again_but_by_hand(house: Context, shop: Brand) -> None:
    one, other = await two(house, shop)
    await record(house, shop, [event("3", {"phone": "p", "openid": "o"})])
    [merge] = await merged(shop)
    await unmerge_users(house, shop, merge.id, by="me")
    done = await record(house, shop, [event("4", {"phone": "p", "openid": "o"})])
    [rejection] = done.rejected
    assert rejection.message == f"the merge of users {one} and {other} was undone"
    await merge_users(house, shop, one, other, by="me")
    assert (await record(house, shop, [event("4", {"phone": "p", "openid": "o"})])).new == 1


async def test_a_conflict_is_overruled_by_hand_only_where_that_is_meant(house: Context, shop: Brand) -> None:
    await record(house, shop, [event("1", {"member": "1"}), event("2", {"member": "2"})])
    one, other = sorted((await who(shop)).values())
    with pytest.raises(InputError, match="the member '1' and '2'"):
        await merge_users(house, shop, one, other, by="me")
    await merge_users(house, shop, one, other, by="me", force=True)
    # The person goes on under both names; a third is one too many again.
    done = await record(
        house, shop, [event("3", {"member": "2", "phone": "p"}), event("4", {"member": "3", "phone": "p"})]
    )
    assert (done.new, len(done.rejected)) == (1, 1)
    assert (await who(shop))["phone", "p"] == one


async def test_a_merge_in_the_middle_of_a_chain_is_undone_alone(house: Context, shop: Brand) -> None:
    await record(house, shop, [event(str(n), {"openid": str(n)}) for n in range(4)])
    users = [(await who(shop))["openid", str(n)] for n in range(4)]
    a, b, c, d = users
    # d with c, then c with b, then (naming d) b's person with a.
    made = [await merge_users(house, shop, *pair, by="me") for pair in ((d, c), (c, b), (d, a))]
    assert set((await who(shop)).values()) == {a}
    assert (await unmerge_users(house, shop, made[1].id, by="me")).users == (a, b)
    assert [(await who(shop))["openid", str(n)] for n in range(4)] == [a, b, a, a]
    assert (await unmerge_users(house, shop, made[0].id, by="me")).users == (a, c)
    assert [(await who(shop))["openid", str(n)] for n in range(4)] == [a, b, c, a]
    await unmerge_users(house, shop, made[2].id, by="me")
    assert [(await who(shop))["openid", str(n)] for n in range(4)] == users
    assert await MergedUser.filter(brand_id=shop.id).count() == 0


async def test_a_merge_ends_decisions_with_the_reason_and_its_undoing_gives_them_back(house: Context) -> None:
    brand = await brand_with(house, "given-back")
    one, other = await two(house, brand)
    await refresh(house, brand.id)

    async def decided(user: int) -> list[tuple[Any, ...]]:
        tags = await TagAssignment.filter(brand_id=brand.id, user_id=user).order_by("id")
        stages = await UserStage.filter(brand_id=brand.id, user_id=user).order_by("id")
        rows: list[Any] = [*tags, *stages]
        return [(row.id, row.since, row.rulebook_id, row.why) for row in rows]

    before = {user: await decided(user) for user in (one, other)}
    assert len(before[other]) > 1
    merge = await merge_users(house, brand, one, other, by="me")
    for way in ("decided", "refreshed"):
        await decide_all(house, brand) if way == "decided" else await refresh(house, brand.id)
        assert await decided(other) == []
        ended: list[Any] = [
            *await TagHistory.filter(brand_id=brand.id, user_id=other),
            *await StageHistory.filter(brand_id=brand.id, user_id=other),
        ]
        assert len(ended) == len(before[other])
        assert {row.merge_id for row in ended} == {merge.id}
        await assert_counters(brand)
        await unmerge_users(house, brand, merge.id, by="me")
        assert await decided(other) == before[other]
        assert not await TagHistory.filter(brand_id=brand.id, user_id=other).exists()
        await assert_counters(brand)
        assert await decide_all(house, brand) == 2
        assert await decided(other) == before[other], "nothing has happened since"
        assert [each[3] for each in await decided(one)] == [each[3] for each in before[one]]
        assert (await refresh(house, brand.id)).changes == 0
        merge = await merge_users(house, brand, one, other, by="me")


@pytest.mark.parametrize("way", ["decided", "refreshed"])
async def test_to_be_merged_or_parted_is_no_occasion_for_a_message(house: Context, way: str) -> None:
    brand = await brand_with(house, f"quiet-{way}")
    told = [
        order("old", {"member": "1"}, days=60),
        order("new", {"openid": "o"}, days=1),
        event("end", {"openid": "o"}),
    ]
    await record(house, brand, [*told, event("end", {"openid": "o"})])
    await refresh(house, brand.id)
    one, other = (await who(brand))["member", "1"], (await who(brand))["openid", "o"]
    assert ("lifecycle", "dormant") in (await decided(brand))[one]

    async def decide() -> int:
        await (refresh if way == "refreshed" else decide_users)(house, brand.id)
        return (await carry_on(house, brand.id)).actions

    merge = await merge_users(house, brand, one, other, by="me")
    assert await decide() == 0
    assert ("lifecycle", "growth") in (await decided(brand))[one]
    await unmerge_users(house, brand, merge.id, by="me")
    assert await decide() == 0
    assert ("lifecycle", "dormant") in (await decided(brand))[one]
    # Somebody who does come back is welcomed.
    await record(house, brand, [order("back", {"member": "1"})])
    assert await decide() == 1


@pytest.mark.parametrize("many", [1, 1000], ids=["many", "few"])
async def test_all_readers_see_one_person(house: Context, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "MANY", many)
    brand = await brand_with(house, f"readers-{many}")
    one, other = await two(house, brand)
    await refresh(house, brand.id, seal_from=1)
    await record(house, brand, [event("3", {"phone": "p", "openid": "o"}), order("4", {"phone": "p"}, "7")])
    expected = {("order.paid", one): 4, ("article.opened", one): 1, ("article.opened", other + 1): 1}
    lake = Lake(house.home, brand.id, house.plugins.catalog)
    async with house.db.connection() as connection:
        up_to = await connection.fetchval("SELECT max(id) FROM event WHERE brand_id = $1", brand.id)
        for history in (
            history_of(await lake.tables(connection, up_to, seal_from=10**6)),
            history_of(await lake.peek(connection)),
            await lake.of_users(connection, [one, other + 1]),
        ):
            counts = Counter(
                (name, user)
                for frames in (history.behind, *(block.frames for block in history.blocks))
                for name in ("order.paid", "article.opened")
                if name in frames
                for user in frames[name].select("user_id").collect().to_series()
            )
            assert counts == expected
    await brand.refresh_from_db()
    assert await user_named(brand, "phone", "p") == one
    assert await spent(house, brand, one) == 1007
    assert other not in await facts_of_users(house, brand, [one])
    foreseen = await preview(house, brand, "rfm", enabled=False)
    assert foreseen.users == 2
    await decide_all(house, brand)
    explained = await explain(house, brand, one)
    held = {tag.key for tag in explained.tags if tag.held}
    assert held == labels(await standing(brand))["o"][0]
    # As of the past, names are as they are known now.
    assert await spent(house, brand, one, END - timedelta(days=50)) == 10


async def spent(house: Context, brand: Brand, user: int, at: datetime | None = None) -> Any:
    found = await facts_of_users(house, brand, [user], at, plugin="rfm", names={"monetary"})
    [value] = [fact.value for fact in found[user] if fact.rule == "rfm"]
    return value


async def test_a_refresh_on_another_engine_sees_one_person_too(house: Context, outside: str) -> None:
    decided = []
    for engine in ("polars", outside):
        brand = await brand_with(house, f"engine-{outside}-{engine}")
        dice = random.Random(3)
        await record(house, brand, history(dice, 60))
        await refresh(house, brand.id, seal_from=1, engine=engine)
        await record(house, brand, history(dice, 60, "x"))
        assert len(await merged(brand)) > 1
        await refresh(house, brand.id, engine=engine)
        decided.append(await standing(brand))
        await assert_counters(brand)
    assert decided[0] == decided[1]


# -- laws --------------------------------------------------------------------------------------------------------------


def history(dice: random.Random, events: int, prefix: str = "", people: int = 7) -> list[IncomingEvent]:
    """A year of some people, now and then named by two of their names, which may be two people's."""
    found = [event(f"{prefix}end", {"member": "reader"})]
    for number in range(events):
        person = dice.randrange(people)
        names = dict.fromkeys(dice.sample(KINDS, 2 if dice.random() < 0.3 else 1), str(person))
        if dice.random() < 0.1:
            names[dice.choice(KINDS)] = str(dice.randrange(people))
        days = dice.randrange(400)
        found.append(
            dice.choice(
                [
                    order(f"{prefix}{number}", names, str(dice.randrange(1, 10**5) / 100), days=days),
                    event(f"{prefix}{number}", names, days=days, topic="tea"),
                    event(f"{prefix}{number}", names, days=days, kind="profile.updated", skin=dice.choice(["a", None])),
                ]
            )
        )
    return found


async def known_as(brand: Brand) -> dict[int, int]:
    """Whom every user counts as, by the merges that stand, found the plain way."""
    users = [row.id for row in await User.filter(brand_id=brand.id).order_by("id")]
    ties = [{"user_id": row.user_id, "other_id": row.other_id} for row in await merged(brand)]
    into = {user: min(merges.parts(users, ties, user)) for user in users}
    kept = {row.user_id: row.into_id for row in await MergedUser.filter(brand_id=brand.id)}
    assert kept == {user: person for user, person in into.items() if user != person}
    return into


async def decided(brand: Brand) -> dict[int, set[tuple[str, str]]]:
    """The tags and stages of every user who has any."""
    keys = {tag.id: tag.key for tag in await Tag.filter(brand_id=brand.id)}
    found: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for tag in await TagAssignment.filter(brand_id=brand.id):
        found[tag.user_id].add(("tag", keys[tag.tag_id]))
    for stage in await UserStage.filter(brand_id=brand.id):
        found[stage.user_id].add((stage.track, stage.stage))
    return dict(found)


async def assert_is_what_it_would_be_had_each_person_one_name(house: Context, brand: Brand) -> None:
    """The same events, each sent for the person, to a brand that knows of no merges."""
    into = await known_as(brand)
    plain = await brand_with(house, f"plain-{next(_numbers)}")
    rows = await Event.filter(brand_id=brand.id)
    await record(
        house,
        plain,
        [IncomingEvent(row.key, row.kind, {"member": str(into[row.user_id])}, row.payload, row.at) for row in rows],
    )
    await refresh(house, plain.id)
    person = {row.user_id: int(row.value) for row in await Identity.filter(brand_id=plain.id)}
    assert await decided(brand) == {person[user]: held for user, held in (await decided(plain)).items()}
    users = {row.id: (row.attributes, row.first_seen, row.last_seen) for row in await User.filter(brand_id=brand.id)}
    for row in await User.filter(brand_id=plain.id):
        assert users[person[row.id]] == (row.attributes, row.first_seen, row.last_seen)
    assert (await refresh(house, brand.id)).changes == 0
    assert await decided(brand) == {person[user]: held for user, held in (await decided(plain)).items()}
    await assert_counters(brand)


async def take_some_steps(house: Context, brand: Brand, dice: random.Random) -> None:
    """Events, merges by hand, undoings, decisions and refreshes, in any order."""
    waiting = history(dice, 70)
    while waiting:
        match dice.choice(["record", "record", "record", "decide", "refresh", "merge", "undo", "undo"]):
            case "record":
                size = dice.choice([1, 10, 30])
                await record(house, brand, waiting[:size])
                waiting = waiting[size:]
            case "decide":
                await decide_users(house, brand.id, limit=dice.choice([1, 3, 1000]))
            case "refresh":
                await refresh(house, brand.id, seal_from=dice.choice([1, 10**6]), shard=dice.choice([2, 10**6]))
            case "merge":
                people = sorted(set((await known_as(brand)).values()))
                if len(people) > 1:
                    await merge_users(house, brand, *dice.sample(people, 2), by="me", force=True)
            case "undo":
                if made := await merged(brand):
                    await unmerge_users(house, brand, dice.choice(made).id, by="me")


@pytest.mark.examples
@settings(max_examples=examples(3), deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
async def test_whatever_is_merged_and_undone_in_between_decisions_are_those_of_the_people_there_are(
    house: Context, seed: int
) -> None:
    dice = random.Random(seed)
    brand = await brand_with(house, f"steps-{next(_numbers)}")
    await take_some_steps(house, brand, dice)
    await decide_all(house, brand)
    await assert_is_what_it_would_be_had_each_person_one_name(house, brand)
    while made := await merged(brand):
        await unmerge_users(house, brand, dice.choice(made).id, by="me")
    await decide_all(house, brand)
    assert not await MergedUser.filter(brand_id=brand.id).exists()
    await assert_is_what_it_would_be_had_each_person_one_name(house, brand)


def people_of(events: Sequence[IncomingEvent]) -> set[frozenset[tuple[str, str]]]:
    """Names that belong together because some event says so, found the plain way."""
    people: list[set[tuple[str, str]]] = []
    for each in events:
        mine = set(each.user.items())
        people = [p for p in people if not p & mine] + [mine.union(*(p for p in people if p & mine))]
    return set(map(frozenset, people))


@pytest.mark.examples
@settings(max_examples=examples(2), deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
async def test_in_whatever_order_and_batches_events_come_the_people_and_their_decisions_are_the_same(
    house: Context, seed: int
) -> None:
    dice, outcomes = random.Random(seed), []
    events = history(dice, 60)
    expected = people_of(events)
    for _ in range(2):
        brand = await brand_with(house, f"order-{next(_numbers)}")
        # The moment is that of the newest event, which comes first.
        waiting = [events[0], *dice.sample(events[1:], len(events) - 1)]
        while waiting:
            size = dice.choice([1, 5, 60])
            assert (await record(house, brand, waiting[:size])).rejected == []
            waiting = waiting[size:]
            if dice.random() < 0.3:
                await decide_all(house, brand)
        await decide_all(house, brand)
        names: dict[int, set[tuple[str, str]]] = defaultdict(set)
        for name, person in (await who(brand)).items():
            names[person].add(name)
        assert set(map(frozenset, names.values())) == expected
        outcomes.append({frozenset(names[user]): held for user, held in (await decided(brand)).items()})
    assert outcomes[0] == outcomes[1]


# -- at once -----------------------------------------------------------------------------------------------------------


async def test_of_two_who_merge_the_same_users_at_once_one_does(house: Context, shop: Brand) -> None:
    one, other = await two(house, shop)
    both = {"openid": "o", "phone": "p"}
    done = await asyncio.gather(
        *(record(house, shop, [event(f"x{n}", both)]) for n in range(6)),
        *(merge_users(house, shop, one, other, by="me") for _ in range(3)),
        return_exceptions=True,
    )
    refused = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, InputError) and "one user already" in each.message for each in refused)
    assert [each.new for each in done if isinstance(each, Recorded)] == [1] * 6
    [merge] = await merged(shop)
    undone = await asyncio.gather(
        *(unmerge_users(house, shop, merge.id, by="me") for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(each, InputError) for each in undone) == 2
    assert await known_as(shop) == {user: user for user in set((await who(shop)).values())}


async def test_many_who_record_merge_undo_and_decide_at_once_do_not_get_in_each_others_way(house: Context) -> None:
    brand = await brand_with(house, "at-once")
    dice = random.Random(5)
    batches = [history(dice, 40, f"{sender}-", people=12) for sender in range(8)]
    stop = asyncio.Event()

    async def keep_deciding() -> None:
        while not stop.is_set():
            await decide_users(house, brand.id, limit=5)

    async def keep_undoing() -> None:
        while not stop.is_set():
            for merge in (await merged(brand))[:1]:
                await unmerge_users(house, brand, merge.id, by="me")
            await asyncio.sleep(0.02)

    async with asyncio.timeout(60):
        others = [asyncio.create_task(each()) for each in (keep_deciding, keep_undoing)]
        done = await asyncio.gather(*(record(house, brand, batch) for batch in batches))
        await refresh(house, brand.id)
        stop.set()
        await asyncio.gather(*others)
    told = sum(len(each.rejected) for each in done)
    assert await Event.filter(brand_id=brand.id).count() + told == sum(map(len, batches))
    assert await RejectedEvent.filter(brand_id=brand.id).count() == told
    await decide_all(house, brand)
    await assert_is_what_it_would_be_had_each_person_one_name(house, brand)
    assert await UserMerge.filter(brand_id=brand.id).exclude(undone_at=None).exists()


@pytest.mark.parametrize("what", ["merge", "undo", "event"])
async def test_what_a_refresh_knew_of_people_before_they_changed_overwrites_no_later_decision(
    house: Context, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand = await brand_with(house, f"busy-{what}")
    one, other = await two(house, brand)
    await refresh(house, brand.id)
    if what != "merge":
        merge = await merge_users(house, brand, one, other, by="me")
        await decide_all(house, brand)
    judge = refreshing.judge

    async def interrupted(*given: Any, **options: Any) -> Any:
        """The facts are there; before they are written, somebody else decides about newer ones."""
        judged = await judge(*given, **options)
        if what == "merge":
            await merge_users(house, brand, one, other, by="me")
        elif what == "undo":
            await unmerge_users(house, brand, merge.id, by="me")
        else:
            await record(house, brand, [order("newer", {"phone": "p"}, "99999")])
        assert await decide_all(house, brand) > 0
        return judged

    monkeypatch.setattr(refreshing, "judge", interrupted)
    await refresh(house, brand.id)
    monkeypatch.undo()
    await assert_is_what_it_would_be_had_each_person_one_name(house, brand)
