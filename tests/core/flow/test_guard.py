"""Step 4 with its servers: nobody is sent more than they are to get, however many workers there are."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from siyu import Channel, Manual, Message, Playbook, PluginError, Receipt, Report, Send, hookimpl
from siyu.contract.manager import PluginManager
from siyu.contract.playbooks import Step
from siyu.engine import guard
from siyu.flow import playbooks, plugins
from siyu.flow.context import Context
from siyu.flow.dispatch import MOST_ATTEMPTS, backoff, dispatch, send_due
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.flow.reports import receive
from siyu.store import channels
from siyu.store.actions import plan_actions
from siyu.store.models import Action, Brand, ChannelState, ChannelUse, Consent, Event, Identity, User, UserStage

NOON = datetime(2026, 6, 10, 4, tzinfo=UTC)
"""In Shanghai, where the brand is."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
handed: list[Message] = []


class Post(Channel):
    """Accepts at once."""

    repeatable = True
    batch = 10

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        handed.extend(messages)
        await asyncio.sleep(0)
        return [Receipt(m.action_id, "sent") for m in messages]


class Letters(Post):
    """The same, to an address."""

    address = "email"


class Broken(Channel):
    """Takes nothing at the moment."""

    repeatable = True
    works = False

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        handed.extend(messages)
        return [Receipt(m.action_id, "sent" if type(self).works else "later", "busy") for m in messages]


class Slow(Post):
    """May be handed twenty a second."""

    def per_second(self, p: Any) -> float:
        return 20


@hookimpl
def siyu_channels() -> Iterable[type[Channel]]:
    return [Post, Letters, Broken, Slow]


class Evening(Playbook):
    """At each user's best time."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("post", "a word", key="word", at="best")


@hookimpl
def siyu_playbooks() -> Iterable[type[Playbook]]:
    return [Evening]


@pytest.fixture
async def post(house: Context, shop: Brand) -> Context:
    """The house with the channels of this module on."""
    module = ModuleType("post")
    vars(module).update(siyu_channels=siyu_channels, siyu_playbooks=siyu_playbooks)
    manager = PluginManager()
    manager.register("guard", guard)
    manager.register("post", module)
    manager.check()
    ctx = replace(house, plugins=manager)
    await plugins.enable(ctx, shop, "post")
    handed.clear()
    Broken.works = False
    return ctx


async def people(ctx: Context, brand: Brand, count: int, at: datetime = NOON - 300 * DAY) -> list[int]:
    """New users, known as member=1, 2, ..."""
    events = [IncomingEvent(f"u{n}", "contact.added", {"member": f"{n}"}, {}, at) for n in range(count)]
    assert (await record(ctx, brand, events)).new == count
    names = {row.value: row.user_id for row in await Identity.filter(brand_id=brand.id, kind="member")}
    return [names[str(n)] for n in range(count)]


async def plan(ctx: Context, brand: Brand, rows: Iterable[Mapping[str, Any]], at: datetime = NOON) -> None:
    usual = {"plugin": "post", "playbook": "p", "channel": "post", "purpose": "care", "text": "t", "because": "b"}
    frame = pl.DataFrame([{**usual, "step": f"s{n}", "key": f"k{n}-{at}", **row} for n, row in enumerate(rows)])
    async with ctx.db.transaction() as connection:
        await plan_actions(connection, brand.id, frame, at=at)


async def statuses(brand: Brand) -> Counter[tuple[str, str]]:
    return Counter((row.status, row.reason) for row in await Action.filter(brand_id=brand.id))


async def configure(ctx: Context, brand: Brand, **params: Any) -> None:
    await plugins.configure(ctx, brand, "guard", params)


LONG = {"hours": 24 * 60, "urgent_hours": 24 * 60}


@pytest.mark.parametrize("seed", range(4))
async def test_eight_workers_at_once_send_nobody_more_than_the_cap_and_nobody_starves(
    post: Context, shop: Brand, seed: int
) -> None:
    dice = random.Random(seed)
    cap = dice.randint(1, 3)
    await configure(post, shop, cap={"tiers": [], "most": cap, "days": 7}, stale=LONG)
    users = await people(post, shop, 40)
    wanted = {user: dice.randint(0, 6) for user in users}
    rows = [
        {"user_id": user, "channel": dice.choice(["post", "outbox"]), "lane": dice.choice([0, 5])}
        for user, number in wanted.items()
        for _ in range(number)
    ]
    dice.shuffle(rows)
    await plan(post, shop, rows)
    moment = NOON
    for week in range(1, 8):

        async def worker(at: datetime = moment) -> None:
            while await dispatch(post, shop.id, at=at, limit=dice.randint(1, 9)):
                pass

        await asyncio.gather(*(worker() for _ in range(8)))
        sent = Counter(row.user_id for row in await Action.filter(brand_id=shop.id, status="sent"))
        assert sent == {user: min(number, week * cap) for user, number in wanted.items() if number}
        moment += 7 * DAY
    assert await statuses(shop) == {("sent", ""): len(rows)}
    assert len(handed) == len({m.key for m in handed})
    by_user: dict[int, list[datetime]] = {}
    for row in await Action.filter(brand_id=shop.id):
        assert row.touched_at is not None
        by_user.setdefault(row.user_id, []).append(row.touched_at)
    for moments in by_user.values():
        moments.sort()
        for first, last in zip(moments, moments[cap:], strict=False):
            assert last - first >= 7 * DAY


async def test_who_says_no_between_planning_and_sending_gets_nothing(post: Context, shop: Brand) -> None:
    users = await people(post, shop, 3)
    await plan(post, shop, [{"user_id": user} for user in users])
    await record(post, shop, [IncomingEvent("no", "consent.withdrawn", {"member": "1"}, {}, NOON - HOUR)])
    await send_due(post, shop.id, at=NOON)
    assert {m.user_id for m in handed} == {users[0], users[2]}
    row = await Action.get(brand_id=shop.id, user_id=users[1])
    assert (row.status, row.reason, row.detail) == ("suppressed", "opt_out", "用户已退订")
    assert [entry[1:] for entry in row.log] == [["planned", "", ""], ["suppressed", "opt_out", "用户已退订"]]
    sent = await Action.get(brand_id=shop.id, user_id=users[0])
    assert [entry[1] for entry in sent.log] == ["planned", "leased", "sent"]
    assert [datetime.fromisoformat(entry[0]) for entry in sent.log] == [NOON] * 3


async def test_consent_is_kept_as_it_was_said_last_in_whatever_order_it_is_heard_of(post: Context, shop: Brand) -> None:
    [user] = await people(post, shop, 1)
    sales = {"purpose": "sales", "channel": "post"}

    async def says(key: str, kind: str, payload: dict[str, str], at: datetime) -> None:
        await record(post, shop, [IncomingEvent(key, f"consent.{kind}", {"member": "0"}, payload, at)])

    await says("a", "given", sales, NOON)
    await says("b", "withdrawn", sales, NOON - HOUR)
    await says("c", "withdrawn", {}, NOON - DAY)
    kept = {(c.purpose, c.channel): (c.user_id, c.given, c.at) for c in await Consent.filter(brand_id=shop.id)}
    assert kept == {("sales", "post"): (user, True, NOON), ("", ""): (user, False, NOON - DAY)}
    await says("d", "withdrawn", sales, NOON)
    await says("a", "given", sales, NOON)
    assert not (await Consent.get(brand_id=shop.id, purpose="sales")).given
    [wrong] = (
        await record(
            post, shop, [IncomingEvent("e", "consent.given", {"member": "0"}, {"purpose": "everything"}, NOON)]
        )
    ).rejected
    assert wrong.field == "payload.purpose"


async def test_what_one_name_said_and_got_counts_for_the_person(post: Context, shop: Brand) -> None:
    one, other, _ = await people(post, shop, 3)
    await record(post, shop, [IncomingEvent("no", "consent.withdrawn", {"member": "1"}, {}, NOON - HOUR)])
    await merge_users(post, shop, one, other, by="test", force=True)
    await plan(post, shop, [{"user_id": one}, {"user_id": other}])
    await send_due(post, shop.id, at=NOON)
    assert await statuses(shop) == {("suppressed", "opt_out"): 1, ("suppressed", "gone"): 1}


@pytest.mark.parametrize(
    ("first", "then"),
    [("Asia/Shanghai", "America/New_York"), ("America/New_York", "Asia/Shanghai"), ("Europe/Berlin", "Asia/Tokyo")],
)
async def test_a_brand_that_moves_to_another_zone_wakes_nobody(
    post: Context, shop: Brand, first: str, then: str
) -> None:
    await configure(post, shop, stale=LONG)
    users = await people(post, shop, 24)
    shop.zone = first
    await shop.save(update_fields=["zone"])
    # Across the change of clocks in Berlin and in New York.
    begin = datetime(2026, 10, 24, tzinfo=UTC)
    for n, user in enumerate(users):
        await plan(post, shop, [{"user_id": user, "key": f"z{n}"}], at=begin + n * HOUR)
    for n in range(24 * 10):
        if n == 11:
            shop.zone = then
            await shop.save(update_fields=["zone"])
        before = len(handed)
        moment = begin + n * HOUR
        await send_due(post, shop.id, at=moment)
        if len(handed) > before:
            assert 8 <= moment.astimezone(ZoneInfo(shop.zone)).hour < 22
        if len(handed) == 24:
            break
    assert await statuses(shop) == {("sent", ""): 24}


async def test_what_a_channel_cannot_take_now_is_tried_again_later_and_less_often(post: Context, shop: Brand) -> None:
    [user] = await people(post, shop, 1)
    await configure(post, shop, stale=LONG)
    await plan(post, shop, [{"user_id": user, "channel": "broken", "purpose": "service"}])
    moment, waits = NOON, []
    for attempt in range(1, MOST_ATTEMPTS + 1):
        await works_again(post, shop)
        assert await dispatch(post, shop.id, at=moment) == 1
        assert await dispatch(post, shop.id, at=moment) == 0
        row = await Action.get(brand_id=shop.id)
        assert row.attempts == attempt
        assert row.touched_at is None
        if attempt < MOST_ATTEMPTS:
            assert (row.status, row.reason, row.detail) == ("held", "later", "busy")
            waits.append(row.due_at - moment)
            assert row.due_at == moment + backoff(row.id, attempt)
            moment = row.due_at
    assert (row.status, row.reason, row.detail) == ("failed", "attempts", "8 times: busy")
    assert all(timedelta(seconds=15) <= wait <= 1.5 * HOUR for wait in waits)
    assert waits[-1] > 10 * waits[0]
    assert (await ChannelUse.get(brand_id=shop.id)).used == 0


async def works_again(ctx: Context, brand: Brand) -> None:
    """Let the time pass for which a channel is closed."""
    async with ctx.db.connection() as connection:
        await connection.execute("UPDATE channel_state SET closed_until = now() WHERE brand_id = $1", brand.id)


async def test_a_channel_that_keeps_failing_is_left_alone_until_one_message_has_passed(
    post: Context, shop: Brand
) -> None:
    users = await people(post, shop, 300)
    rows = [{"user_id": user, "channel": "broken", "purpose": "service"} for user in users]
    await plan(post, shop, [*rows, {"user_id": users[0], "channel": "post", "purpose": "service"}])
    await send_due(post, shop.id, at=NOON)
    assert Counter(m.action_id for m in handed).most_common(1)[0][1] == 1
    # It takes 50 at once, and two batches were under way. After the third failure it is closed; what had been leased is
    # given back.
    found = await statuses(shop)
    assert found.pop(("sent", "")) == 1
    assert found[("held", "later")] in (150, 200)
    assert set(found) <= {("held", "later"), ("planned", "given_back"), ("planned", "")}
    failures = (await ChannelState.get(brand_id=shop.id)).failures
    assert failures >= channels.FAILURES
    assert not await Action.filter(brand_id=shop.id, status="planned").exclude(attempts=0).exists()
    assert await dispatch(post, shop.id, at=NOON) == 0
    handed.clear()
    await works_again(post, shop)
    assert await dispatch(post, shop.id, at=NOON) == 1
    assert len(handed) == 1
    assert (await ChannelState.get(brand_id=shop.id)).failures == failures + 1
    assert await dispatch(post, shop.id, at=NOON) == 0
    await works_again(post, shop)
    Broken.works = True
    await send_due(post, shop.id, at=NOON + HOUR)
    assert await statuses(shop) == {("sent", ""): 301}
    assert (await ChannelState.get(brand_id=shop.id)).failures == 0


async def test_workers_together_hand_a_channel_no_more_than_it_takes_in_a_second(post: Context, shop: Brand) -> None:
    users = await people(post, shop, 50)
    await plan(post, shop, [{"user_id": user, "channel": "slow", "purpose": "service"} for user in users])
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(send_due(post, shop.id, at=NOON) for _ in range(3)))
    took = asyncio.get_running_loop().time() - began
    assert len(handed) == 50
    # Twenty at once, and then thirty at twenty a second.
    assert took > 1.3


async def test_a_budget_is_kept_by_all_workers_and_returns_what_failed(post: Context, shop: Brand) -> None:
    await configure(post, shop, budget={"quotas": [{"channel": "post", "per_day": 25}]}, stale=LONG)
    users = await people(post, shop, 60)
    await plan(post, shop, [{"user_id": user} for user in users])
    await asyncio.gather(*(send_due(post, shop.id, at=NOON) for _ in range(4)))
    assert await statuses(shop) == {("sent", ""): 25, ("held", "budget"): 35}
    assert (await ChannelUse.get(brand_id=shop.id, channel="post")).used == 25
    await send_due(post, shop.id, at=NOON + DAY)
    assert await statuses(shop) == {("sent", ""): 50, ("held", "budget"): 10}


async def test_a_message_goes_to_the_address_that_was_given_last(post: Context, shop: Brand) -> None:
    users = await people(post, shop, 2)
    for name in ("old@example.com", "new@example.com"):
        event = IncomingEvent(name, "contact.added", {"member": "0", "email": name}, {}, NOON - DAY)
        await record(post, shop, [event])
    await plan(post, shop, [{"user_id": user, "channel": "letters"} for user in users])
    await send_due(post, shop.id, at=NOON)
    assert [(m.user_id, m.to) for m in handed] == [(users[0], "new@example.com")]
    assert await statuses(shop) == {("sent", ""): 1, ("suppressed", "no_address"): 1}


async def test_the_best_time_is_the_users_else_that_of_their_stage_else_that_of_the_brand(
    post: Context, shop: Brand
) -> None:
    own, alike, rare, few, nowhere, *readers = await people(post, shop, 8)
    at_hour = {own: [20] * 3, rare: [20] * 2, readers[0]: [18] * 20, readers[1]: [15] * 19, readers[2]: [21] * 60}
    names = {row.user_id: row.value for row in await Identity.filter(brand_id=shop.id)}
    yesterday, what = NOON - 36 * HOUR, {"action": "x"}
    opened = [
        IncomingEvent(f"{user}/{n}", "message.opened", {"member": names[user]}, what, yesterday + hour * HOUR)
        for user, hours in at_hour.items()
        for n, hour in enumerate(hours)
    ]
    assert not (await record(post, shop, opened)).rejected
    stages = {alike: "growth", rare: "growth", readers[0]: "growth", readers[1]: "dormant", few: "dormant"}
    for user, stage in stages.items():
        await UserStage(
            brand_id=shop.id,
            user_id=user,
            track="lifecycle",
            stage=stage,
            since=NOON - DAY,
            rulebook_id=0,
            why="[]",
        ).save()
    await playbooks.start(post, shop, "post.evening", [own, alike, rare, few, nowhere], occasion="x")
    await playbooks.carry_on(post, shop.id, at=NOON)
    await send_due(post, shop.id, at=NOON)
    held = {row.user_id: row for row in await Action.filter(brand_id=shop.id)}
    assert {row.reason for row in held.values()} == {"best_time"}
    hours = {user: row.due_at.astimezone(ZoneInfo(shop.zone)).hour for user, row in held.items()}
    assert hours == {own: 20, alike: 18, rare: 18, few: 21, nowhere: 21}, "what was opened 19 times is not known yet"


async def test_what_somebody_asks_for_is_of_the_kind_that_it_says(post: Context, shop: Brand) -> None:
    [user] = await people(post, shop, 1)
    once = {"most": 1, "purposes": ["care"]}
    await configure(post, shop, variety=once, cap={"tiers": [], "most": 9}, stale=LONG)
    for hour, kind in enumerate(("image", "image", "video")):
        row = {"user_id": user, "step": "", "body": json.dumps({"kind": kind})}
        await plan(post, shop, [row], at=NOON + hour * HOUR)
        await send_due(post, shop.id, at=NOON + hour * HOUR)
    rows = await Action.filter(brand_id=shop.id).order_by("id")
    assert [row.status for row in rows] == ["sent", "held", "sent"]
    assert rows[1].detail == "最近 1 条同为 image（care）"


async def test_what_is_urgent_is_a_matter_of_its_own(post: Context, shop: Brand) -> None:
    users = await people(post, shop, 4)
    await plan(post, shop, [{"user_id": user, "lane": lane} for user, lane in zip(users, (5, 0, 5, 0), strict=True)])
    await send_due(post, shop.id, at=NOON, urgent=True)
    assert [m.user_id for m in handed] == [users[1], users[3]]
    await send_due(post, shop.id, at=NOON, urgent=False)
    assert [m.user_id for m in handed[2:]] == [users[0], users[2]]


async def test_what_is_heard_of_a_message_is_kept_once_and_only_goes_on(post: Context, shop: Brand) -> None:
    [user] = await people(post, shop, 1)
    await plan(post, shop, [{"user_id": user, "key": "a"}])
    await send_due(post, shop.id, at=NOON)
    opened = Report("a", "opened", NOON + HOUR)
    first = await receive(post, shop, [opened, Report("a", "delivered", NOON), Report("nobody's", "opened")])
    assert first.known == 2
    await receive(post, shop, [opened, Report("a", "clicked", NOON + 2 * HOUR, "https://example.com")])
    row = await Action.get(brand_id=shop.id)
    assert (row.status, row.detail) == ("clicked", "https://example.com")
    assert [entry[1] for entry in row.log] == ["planned", "leased", "sent", "opened", "clicked"]
    events = {e.kind: e async for e in Event.filter(brand_id=shop.id, kind__startswith="message.")}
    assert sorted(events) == ["message.clicked", "message.delivered", "message.opened"]
    assert events["message.clicked"].user_id == user
    assert events["message.clicked"].payload == {
        "action": "a",
        "channel": "post",
        "plugin": "post",
        "playbook": "p",
        "step": "s0",
        "purpose": "care",
        "detail": "https://example.com",
    }
    await receive(post, shop, [Report("a", "bounced")])
    assert (await Action.get(brand_id=shop.id)).status == "clicked"


async def test_a_message_that_bounced_has_failed_and_reached_nobody(post: Context, shop: Brand) -> None:
    [user] = await people(post, shop, 1)
    await plan(post, shop, [{"user_id": user, "key": "a"}])
    await send_due(post, shop.id, at=NOON)
    await receive(post, shop, [Report("a", "bounced", NOON, "no such mailbox")] * 2)
    row = await Action.get(brand_id=shop.id)
    assert (row.status, row.reason, row.detail, row.touched_at) == ("failed", "bounced", "no such mailbox", None)


async def test_the_guard_is_set_like_any_plugin_but_never_off(post: Context, shop: Brand) -> None:
    with pytest.raises(PluginError, match="nothing goes out around the guard"):
        await plugins.disable(post, shop, "guard")
    [user] = await people(post, shop, 1)
    await configure(post, shop, cap={"tiers": [], "most": 0})
    await plugins.undo(post, shop, "guard")
    await plan(post, shop, [{"user_id": user}])
    await send_due(post, shop.id, at=NOON)
    assert await statuses(shop) == {("sent", ""): 1}
    with pytest.raises(PluginError, match="less than or equal to 50"):
        await configure(post, shop, hold_out={"percent": 80})
    schema = post.plugins.get("guard").params_schema()
    assert schema["properties"]["quiet"]["properties"]["begin"]["title"] == "从几点起不打扰"


async def test_brands_share_neither_caps_nor_consent(post: Context, shop: Brand) -> None:
    other = await Brand.create(slug=f"{shop.slug}-other", name="Other", replayed_to=NOON - 400 * DAY)
    await plugins.enable(post, other, "post")
    for brand in (shop, other):
        users = await people(post, brand, 2)
        await plan(post, brand, [{"user_id": user} for user in users])
    await record(post, shop, [IncomingEvent("no", "consent.withdrawn", {"member": "0"}, {}, NOON - HOUR)])
    await send_due(post, other.id, at=NOON)
    assert {m.brand for m in handed} == {other.slug}
    assert len(handed) == 2
    assert await User.filter(brand_id=shop.id).count() == 2
