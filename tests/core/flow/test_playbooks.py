"""Step 3: users come into playbooks by what happens, and are moved on by the clock; nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from siyu import (
    Arm,
    AttributeKind,
    Count,
    Daily,
    DaysUntil,
    Field,
    Happened,
    HasTag,
    InputError,
    Manual,
    NotFound,
    OnDate,
    Params,
    Playbook,
    Segmenter,
    Send,
    Split,
    StageOf,
    Tag,
    TagGained,
    TagLost,
    Wait,
    When,
    hookimpl,
)
from siyu.contract.conditions import Condition
from siyu.contract.manager import PluginManager
from siyu.contract.playbooks import Step
from siyu.flow import playbooks, plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.flow.playbooks import carry_on, daily, start
from siyu.flow.refresh import refresh
from siyu.store.models import Action, Brand, Enrolment, Identity, Occasion, PlaybookVersion

from tests.core.conftest import new_brand

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NUMBERS = count()


class Keen(Segmenter):
    """Bought twice or more."""

    orders = Count("order.paid")

    class Params(Params):
        least: int = Field(2, ge=1)

    def tags(self, p: Any) -> Iterable[Tag]:
        yield Tag("calls.keen", "Keen", when=self.orders >= p.least)


class Touch(Playbook):
    """First touch."""

    goal = "order.paid"
    opened = Count("article.opened")

    class Params(Params):
        hours: int = Field(1, ge=1, le=48)

    def trigger(self, p: Any) -> Happened:
        return Happened("contact.added")

    def ends(self, p: Any) -> Iterable[str | Condition]:
        yield "contact.removed"
        yield self.opened >= 5

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "hello", key="hello", urgent=True)
        yield Wait(p.hours * HOUR)
        yield Send("outbox", "story", key="story")
        yield Wait(
            DAY,
            event="group.message",
            heard=[Send("outbox", "thanks", key="thanks")],
            silent=[Send("outbox", "still there?", key="nudge")],
        )
        yield Wait(until=time(20))
        yield When(self.opened > 0, then=[Send("outbox", "more", key="more")])


class OfTags(Playbook):
    """Told of the tag."""

    reentry = "always"

    def trigger(self, p: Any) -> TagGained:
        return TagGained("calls.keen")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "keen", key="keen")


class Parted(OfTags):
    """Told that it is gone."""

    def trigger(self, p: Any) -> Any:
        return TagLost("calls.keen")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "gone", key="gone")


class Birthday(Playbook):
    """Birthday."""

    reentry = "year"

    def trigger(self, p: Any) -> Daily:
        return Daily(DaysUntil("birthday", yearly=True) == 0)

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "many happy returns", key="wish")


class Festival(Playbook):
    """The big day, for the keen."""

    reentry = "day"

    def trigger(self, p: Any) -> OnDate:
        return OnDate(6, 18)

    def audience(self, p: Any) -> Condition:
        return HasTag("calls.keen") | (StageOf("lifecycle") == "dormant")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "618", key="618")


class Opened(Playbook):
    """Read something."""

    def trigger(self, p: Any) -> Happened:
        return Happened("article.opened")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "read", key="read")


class ByHand(Playbook):
    """Sent by hand."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Split(
            "ab",
            {"a": Arm(1, [Send("outbox", "a", key="a")]), "b": Arm(3, [Send("outbox", "b", key="b")])},
        )


def module(*made: type[Playbook]) -> Any:
    return SimpleNamespace(
        __doc__="Calls",
        siyu_playbooks=_named("siyu_playbooks", list(made)),
        siyu_segmenters=_named("siyu_segmenters", [Keen]),
        siyu_attributes=_named("siyu_attributes", [AttributeKind("birthday", "生日", "date")]),
    )


def _named(name: str, found: list[Any]) -> Any:
    def give() -> list[Any]:
        return found

    give.__name__ = name
    return hookimpl(give)


def with_playbooks(house: Context, *made: type[Playbook]) -> Context:
    manager = PluginManager()
    manager.register("calls", module(*made))
    manager.check()
    return replace(house, plugins=manager)


@pytest.fixture
async def calls(house: Context, shop: Brand) -> Context:
    ctx = with_playbooks(house, Touch, OfTags, Parted, Birthday, Festival, ByHand)
    await plugins.enable(ctx, shop, "calls")
    return ctx


async def happens(ctx: Context, brand: Brand, kind: str, at: datetime, member: str = "1", **payload: Any) -> None:
    event = IncomingEvent(f"e{next(NUMBERS)}", kind, {"member": member}, payload, at)
    recorded = await record(ctx, brand, [event])
    assert not recorded.rejected
    await brand.refresh_from_db()


async def sent(brand: Brand) -> list[str]:
    return [row.step for row in await Action.filter(brand_id=brand.id).order_by("id")]


async def ends(brand: Brand) -> list[tuple[str, str]]:
    return [(row.status, row.why) for row in await Enrolment.filter(brand_id=brand.id).order_by("id")]


async def test_who_is_silent_is_asked_once_and_goes_to_the_end(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    story = [
        (NOON, ["hello"]),
        (NOON + HOUR - timedelta(seconds=1), ["hello"]),
        (NOON + HOUR, ["hello", "story"]),
        (NOON + DAY, ["hello", "story"]),
        (NOON + DAY + HOUR, ["hello", "story", "nudge"]),
        (NOON + 3 * DAY, ["hello", "story", "nudge"]),
    ]
    for at, so_far in story:
        await carry_on(calls, shop.id, at=at)
        await carry_on(calls, shop.id, at=at)
        assert await sent(shop) == so_far
    assert await ends(shop) == [("done", "")]
    [hello, *_] = await Action.filter(brand_id=shop.id).order_by("id")
    assert (hello.lane, hello.because, hello.planned_at) == (0, "contact.added 2026-05-01 04:00", NOON)
    assert [entry[1:] for entry in hello.log] == [["planned", "", ""]]


async def test_who_answers_is_thanked_at_once_and_hears_more_in_the_evening(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await carry_on(calls, shop.id, at=NOON + HOUR)
    await carry_on(calls, shop.id, at=NOON + 2 * HOUR)
    await happens(calls, shop, "article.opened", NOON + 2 * HOUR)
    await happens(calls, shop, "group.message", NOON + 3 * HOUR, text="hi")
    await carry_on(calls, shop.id, at=NOON + 3 * HOUR)
    assert await sent(shop) == ["hello", "story", "thanks"]
    await carry_on(calls, shop.id, at=NOON + 7 * HOUR)
    assert await sent(shop) == ["hello", "story", "thanks"], "it is 19:00 in Shanghai"
    await carry_on(calls, shop.id, at=NOON + 8 * HOUR)
    assert await sent(shop) == ["hello", "story", "thanks", "more"]


async def test_an_answer_that_nobody_noted_is_found_when_the_wait_is_over(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await carry_on(calls, shop.id, at=NOON)
    await carry_on(calls, shop.id, at=NOON + HOUR)
    await happens(calls, shop, "group.message", NOON + 5 * HOUR, text="hi")
    await Occasion.filter(brand_id=shop.id).delete()
    await carry_on(calls, shop.id, at=NOON + 2 * DAY)
    assert (await sent(shop))[2] == "thanks"


@pytest.mark.parametrize(
    ("kind", "payload", "end"),
    [
        ("order.paid", {"amount": 5}, ("goal", "order.paid")),
        ("contact.removed", {}, ("ended", "ended by contact.removed")),
    ],
)
async def test_its_goal_and_what_ends_it_end_it(
    calls: Context, shop: Brand, kind: str, payload: dict[str, Any], end: tuple[str, str]
) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await carry_on(calls, shop.id, at=NOON)
    await happens(calls, shop, kind, NOON + HOUR / 2, **payload)
    await carry_on(calls, shop.id, at=NOON + 3 * DAY)
    assert await sent(shop) == ["hello"]
    assert await ends(shop) == [end]


async def test_a_condition_ends_it_before_the_next_step(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await carry_on(calls, shop.id, at=NOON)
    for minute in range(5):
        await happens(calls, shop, "article.opened", NOON + timedelta(minutes=minute + 1))
    await carry_on(calls, shop.id, at=NOON + HOUR)
    assert await sent(shop) == ["hello"]
    assert await ends(shop) == [("done", "ended by a condition")]


async def test_nobody_comes_in_a_second_time_unless_it_says_so(calls: Context, shop: Brand) -> None:
    for days in range(3):
        await happens(calls, shop, "contact.added", NOON + days * 30 * DAY)
        await carry_on(calls, shop.id, at=NOON + days * 30 * DAY + DAY / 2)
    assert (await sent(shop)).count("hello") == 1


async def test_what_is_taken_in_as_history_sets_nothing_off(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await happens(calls, shop, "contact.added", NOON - 2 * DAY, member="2")
    assert await Occasion.filter(brand_id=shop.id).count() == 1


async def test_a_tag_that_is_gained_and_lost_sets_off(calls: Context, shop: Brand) -> None:
    for minute in range(2):
        await happens(calls, shop, "order.paid", NOON + timedelta(minutes=minute), amount=5)
    await decide_users(calls, shop.id)
    await carry_on(calls, shop.id)
    assert await sent(shop) == ["keen"]
    await plugins.configure(calls, shop, "calls", {"keen": {"least": 3}})
    await refresh(calls, shop.id)
    await carry_on(calls, shop.id)
    assert await sent(shop) == ["keen", "gone"]
    await plugins.undo(calls, shop, "calls")
    await refresh(calls, shop.id)
    await carry_on(calls, shop.id)
    assert await sent(shop) == ["keen", "gone"], "what is given back was not gained"
    # Switched off, nothing of it is set off any more.
    await plugins.disable(calls, shop, "calls")
    await refresh(calls, shop.id)
    await carry_on(calls, shop.id)
    assert await sent(shop) == ["keen", "gone"]


async def test_a_day_comes_once_for_those_whose_it_is(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "profile.updated", NOON, member="1", birthday="1990-06-18")
    await happens(calls, shop, "profile.updated", NOON, member="2", birthday="1990-06-19")
    for minute in range(2):
        await happens(calls, shop, "order.paid", NOON + timedelta(minutes=minute), member="2", amount=5)
    await refresh(calls, shop.id)
    await carry_on(calls, shop.id)
    users = {row.value: row.user_id for row in await Identity.filter(brand_id=shop.id)}
    eve = datetime(2026, 6, 17, 15, 59, tzinfo=UTC)
    assert (await daily(calls, shop.id, at=eve)).users == 0, "in Shanghai it is still the 17th"
    for hours in (1, 2, 12):
        await daily(calls, shop.id, at=eve + hours * HOUR)
    await carry_on(calls, shop.id, at=eve + DAY / 2)
    told = {(row.user_id, row.step) for row in await Action.filter(brand_id=shop.id).exclude(step="keen")}
    assert told == {(users["1"], "wish"), (users["2"], "618")}
    assert (await daily(calls, shop.id, at=eve + 365 * DAY + HOUR)).users == 2


async def test_by_hand_everybody_goes_one_way_and_the_same_at_every_time(calls: Context, shop: Brand) -> None:
    events = [IncomingEvent(f"s{number}", "contact.added", {"member": f"m{number}"}, {}, NOON) for number in range(200)]
    await record(calls, shop, events)
    await Occasion.filter(brand_id=shop.id).delete()
    users = [row.user_id for row in await Identity.filter(brand_id=shop.id)]
    for occasion, new in (("first", 200), ("first", 0), ("second", 0)):
        done = await start(calls, shop, "calls.by_hand", users, occasion=occasion, by="ann")
        assert (done.users, done.actions) == (new, new)
    assert (await carry_on(calls, shop.id)).actions == 0
    ways = {row.user_id: row.step for row in await Action.filter(brand_id=shop.id)}
    assert 25 < sum(way == "a" for way in ways.values()) < 80
    other = await new_brand()
    await plugins.enable(calls, other, "calls")
    assert (await start(calls, other, "calls.by_hand", users, occasion="again")).users == 200
    await carry_on(calls, other.id)
    assert {row.user_id: row.step for row in await Action.filter(brand_id=other.id)} == ways
    with pytest.raises(NotFound, match="no playbook"):
        await start(calls, shop, "calls.nothing", users, occasion="x")
    with pytest.raises(InputError, match="name of"):
        await start(calls, shop, "calls.by_hand", users, occasion="")


async def test_who_is_under_way_goes_on_by_the_version_that_they_began(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await carry_on(calls, shop.id, at=NOON)
    await plugins.configure(calls, shop, "calls", {"touch": {"hours": 5}})
    await happens(calls, shop, "contact.added", NOON + timedelta(minutes=1), member="2")
    await carry_on(calls, shop.id, at=NOON + timedelta(minutes=1))
    # The plugin may be gone by then, or look quite different.
    gone = replace(with_playbooks(calls, OfTags), programs={})
    await carry_on(gone, shop.id, at=NOON + 2 * HOUR)
    assert await sent(shop) == ["hello", "hello", "story"]
    await carry_on(gone, shop.id, at=NOON + 6 * HOUR)
    assert await sent(shop) == ["hello", "hello", "story", "story"]
    assert await PlaybookVersion.filter(brand_id=shop.id, playbook="calls.touch").count() == 2
    # Switched off, those who are under way are still heard.
    await plugins.disable(calls, shop, "calls")
    await happens(calls, shop, "order.paid", NOON + 7 * HOUR, member="2", amount=5)
    await carry_on(calls, shop.id)
    assert [status for status, _ in await ends(shop)] == ["active", "goal"]


async def test_several_at_once_do_nothing_twice(calls: Context, shop: Brand) -> None:
    events = [IncomingEvent(f"s{n}", "contact.added", {"member": f"m{n}"}, {}, NOON) for n in range(300)]
    await record(calls, shop, events)

    async def worker() -> None:
        for _ in range(20):
            await playbooks.take(calls, shop.id, at=NOON, limit=17)
            await playbooks.move_on(calls, shop.id, at=NOON, limit=23)

    await asyncio.gather(*(worker() for _ in range(4)))
    await carry_on(calls, shop.id, at=NOON)
    rows = await Action.filter(brand_id=shop.id)
    assert len(rows) == len({row.user_id for row in rows}) == 300


async def test_of_two_who_turn_out_to_be_one_the_other_stands_for_both(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "article.opened", NOON, member="old")
    await happens(calls, shop, "contact.added", NOON + HOUR, member="new")
    users = {row.value: row.user_id for row in await Identity.filter(brand_id=shop.id)}
    await merge_users(calls, shop, users["old"], users["new"], by="me", force=True)
    await carry_on(calls, shop.id, at=NOON + HOUR)
    assert [row.user_id for row in await Action.filter(brand_id=shop.id)] == [users["old"]]


async def test_one_brand_sets_nothing_off_at_another(calls: Context, shop: Brand) -> None:
    other = await new_brand()
    await plugins.enable(calls, other, "calls")
    await happens(calls, shop, "contact.added", NOON)
    await happens(calls, other, "article.opened", NOON)
    assert (await carry_on(calls, other.id, at=NOON + DAY)).users == 0
    assert (await carry_on(calls, shop.id, at=NOON)).users == 1


async def test_a_plugin_that_waits_for_something_new_hears_of_it(calls: Context, shop: Brand) -> None:
    newer = replace(with_playbooks(calls, Touch, Opened), playbooks={})
    await happens(newer, shop, "article.opened", NOON)
    assert await Occasion.filter(brand_id=shop.id).count() == 0
    await playbooks.listen_all(newer)
    await happens(newer, shop, "article.opened", NOON + HOUR)
    await carry_on(newer, shop.id)
    assert await sent(shop) == ["read"]
