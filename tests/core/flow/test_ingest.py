"""Step 1: what is taken in, what is refused, and who is meant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from siyu import InputError
from siyu.flow.context import Context
from siyu.flow.ingest import MAX_EVENTS, IncomingEvent, Rejection, record
from siyu.store.models import Brand, Event, Identity, RejectedEvent, User

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(
    key: str,
    *,
    kind: str = "article.opened",
    user: Mapping[str, str] | None = None,
    at: datetime | None = START,
    **payload: Any,
) -> IncomingEvent:
    return IncomingEvent(key, kind, {"member": "1"} if user is None else user, payload, at)


def order(key: str, **payload: Any) -> IncomingEvent:
    return event(key, kind="order.paid", **payload)


def profile(key: str, attributes: Mapping[str, Any]) -> IncomingEvent:
    return IncomingEvent(key, "profile.updated", {"member": "1"}, attributes, START)


async def count(model: Any, brand: Brand) -> int:
    return int(await model.filter(brand_id=brand.id).count())


async def test_many_callers_at_once_whose_events_are_refused_do_not_wait_for_each_other(
    house: Context, shop: Brand
) -> None:
    async with asyncio.timeout(30):  # more of them than the pool has connections
        done = await asyncio.gather(*(record(house, shop, [event(f"x{n}", colour="red")]) for n in range(40)))
    assert all(len(each.rejected) == 1 for each in done)
    assert await count(RejectedEvent, shop) == 40


async def test_a_bad_event_is_refused_by_field_and_value_and_kept_with_the_reason(house: Context, shop: Brand) -> None:
    refused = [
        (order("x", amount="1.234"), "payload.amount", "1.234"),
        (order("x", amount="NaN"), "payload.amount", "NaN"),
        (order("x", amount=float("nan")), "payload.amount", "nan"),
        (order("x", amount=float("inf")), "payload.amount", "inf"),
        (order("x", amount="100000000000"), "payload.amount", "100000000000"),
        (order("x"), "payload.amount", "Field required"),
        (order("x", amount="1", colour="red"), "payload.colour", "red"),
        (order("x", amount="1", quantity=2**53 + 1), "payload.quantity", str(2**53 + 1)),
        (order("x", amount="1", items=[{"quantity": 1}, {"amount": "x"}]), "payload.items.1.amount", "x"),
        (event("x", kind="order.payed"), "kind", "order.payed"),
        (event("", topic="a"), "id", "1 to 200 letters"),
        (event("x" * 201), "id", "1 to 200 letters"),
        (event("x", user={}), "user", "no identity"),
        (event("x", user={"member": ""}), "user", "member=''"),
        (event("x", user={"k" * 41: "1"}), "user", "k" * 41),
        (event("x", at=datetime(2026, 1, 1)), "at", "no time zone"),  # noqa: DTZ001
        (event("x", at=datetime(1969, 12, 31, tzinfo=UTC)), "at", "1970"),
        (event("x", at=datetime.max.replace(tzinfo=UTC)), "at", "9999"),
        (event("x", kind="profile.updated", skin={"a": 1}), "payload.skin", "skin"),
        (profile("x", {"s" * 81: "a"}), f"payload.{'s' * 81}", "s" * 81),
        (profile("x", {str(n): "a" for n in range(101)}), "payload", "101"),
    ]
    done = await record(house, shop, [event("good"), *(bad for bad, _, _ in refused)])
    assert done.new == 1
    assert [rejection.index for rejection in done.rejected] == list(range(1, len(refused) + 1))
    kept = await RejectedEvent.filter(brand_id=shop.id).order_by("id")
    for (bad, field, named), rejection, row in zip(refused, done.rejected, kept, strict=True):
        assert rejection.field == field
        assert named in f"{rejection.message} {rejection.remedy}"
        assert (row.field, row.reason, row.received["kind"]) == (field, rejection.message, bad.kind)


async def test_text_that_cannot_be_kept_is_refused_and_takes_nothing_else_with_it(house: Context, shop: Brand) -> None:
    # What PostgreSQL cannot keep as text, and half a character.
    for number, text in enumerate(["\x00", "a\x00b", "\ud800", "\udc80x"]):
        bad = [
            event(text),
            event("b", user={"member": text}),
            event("c", user={text: "1"}),
            event("d", topic=text),
            event("e", kind="profile.updated", skin=text),
            profile("f", {text: "a"}),
            event("g", kind=text),
            IncomingEvent("h", "article.opened", {"member": "1"}, {text: "unknown field"}, START),
            order("i", amount="1", items=[{"category": text}]),
        ]
        done = await record(house, shop, [event(f"good {number}"), *bad])
        assert done.new == 1
        assert [rejection.index for rejection in done.rejected] == list(range(1, 10))
        assert await count(RejectedEvent, shop) == 9 * (number + 1)
    assert await count(User, shop) == 1


async def test_any_other_text_is_kept_as_it_came(house: Context, shop: Brand) -> None:
    # Some of it COPY might read as no value or as the end of all.
    odd = ["\\N", "\\.", '"', "a,b\n\\.\nc", "'", "\\", " ", "油\U0001f600", "\u2028", "NULL", "\x1f\t\r", "\\u0000"]
    for text in odd:
        given = event(text, user={"member": text, "openid": f"o{text}"}, topic=text)
        again = event(f"p{text}", kind="profile.updated", user={"openid": f"o{text}"}, skin=text)
        assert (await record(house, shop, [given])).new == 1
        assert (await record(house, shop, [given, again])).new == 1
    assert {row.key: row.payload for row in await Event.filter(brand_id=shop.id)} == {
        **{text: {"topic": text} for text in odd},
        **{f"p{text}": {"skin": text} for text in odd},
    }
    users = await User.filter(brand_id=shop.id).order_by("id")
    assert [user.attributes for user in users] == [{"skin": text} for text in odd]
    assert {row.value for row in await Identity.filter(brand_id=shop.id)} == {*odd, *(f"o{text}" for text in odd)}


async def test_a_call_takes_so_many_events_and_no_more(house: Context, shop: Brand) -> None:
    with pytest.raises(InputError, match="5001 events in one call"):
        await record(house, shop, [event(str(n)) for n in range(MAX_EVENTS + 1)])
    assert (await record(house, shop, [])).new == 0


async def test_events_of_the_future_are_refused_where_the_brand_lives_in_the_present(house: Context) -> None:
    live = await Brand.create(slug="live", name="Live")
    now = datetime.now(UTC)
    given = [
        event("a", at=now + timedelta(days=2)),
        event("b", at=now + timedelta(hours=2)),
        event("c", at=None),
    ]
    done = await record(house, live, given)
    assert (done.new, [(r.index, r.field) for r in done.rejected]) == (2, [(0, "at")])


async def test_the_profile_of_a_user_is_what_the_latest_events_say(house: Context, shop: Brand) -> None:
    def told(key: str, day: int, **attributes: Any) -> IncomingEvent:
        return event(key, kind="profile.updated", at=START + timedelta(days=day), **attributes)

    await record(house, shop, [told("a", 5, skin="oily", city="x", vip=True), told("b", 3, skin="dry", age=30)])
    await record(house, shop, [told("c", 4, skin="mixed", city=None, age=31), told("d", 6, city=None)])
    [user] = await User.filter(brand_id=shop.id)
    assert user.attributes == {"skin": "oily", "vip": "true", "age": "31"}
    assert (user.first_seen, user.last_seen) == (START + timedelta(days=3), START + timedelta(days=6))


# -- who is meant ----------------------------------------------------------------------------------------------------


async def who(brand: Brand) -> dict[tuple[str, str], int]:
    return {(row.kind, row.value): row.user_id for row in await Identity.filter(brand_id=brand.id)}


async def test_identities_that_occur_together_are_one_user(house: Context, shop: Brand) -> None:
    given = [
        event("1", user={"a": "1", "b": "1"}),
        event("2", user={"c": "1"}),
        event("3", user={"b": "1", "c": "1"}),
        event("4", user={"a": "2"}),
    ]
    done = await record(house, shop, given)
    assert (done.new, done.rejected) == (4, [])
    names = await who(shop)
    assert len({names[name] for name in (("a", "1"), ("b", "1"), ("c", "1"))}) == 1
    assert names["a", "2"] != names["a", "1"]
    assert await count(User, shop) == 2


async def test_a_new_identity_is_given_to_the_user_whom_the_event_names(house: Context, shop: Brand) -> None:
    await record(house, shop, [event("1", user={"member": "1"})])
    await record(house, shop, [event("2", user={"openid": "o", "member": "1"})])
    await record(house, shop, [event("3", user={"openid": "o"})])
    assert await count(User, shop) == 1
    assert len({row.user_id for row in await Event.filter(brand_id=shop.id)}) == 1


async def test_an_event_that_names_two_users_is_rejected_and_nobody_is_guessed(house: Context, shop: Brand) -> None:
    await record(house, shop, [event("1", user={"member": "1"}), event("2", user={"member": "2", "phone": "2"})])
    before = await who(shop)
    users = sorted({before["member", "1"], before["member", "2"]})
    done = await record(
        house,
        shop,
        [
            event("3", user={"member": "1", "phone": "2"}),
            event("4", user={"member": "1", "new": "x"}),
            event("5", user={"phone": "2", "new": "x"}),
            event("6", user={"new": "x"}),
        ],
    )
    remedy = "name one user, or merge them by hand"
    # A person has one member number, and of a name of an unknown kind nobody knows what it proves.
    assert done.rejected == [
        Rejection(0, "user", f"users {users[0]} and {users[1]} have the member '1' and '2'", remedy),
        Rejection(2, "user", f"the identities belong to users {users}", remedy),
    ]
    # As though each event had come alone: the first says whose the new name is.
    assert await who(shop) == {**before, ("new", "x"): users[0]}
    first, second = users
    assert [row.user_id for row in await Event.filter(brand_id=shop.id).order_by("key")] == [
        first,
        second,
        first,
        first,
    ]


async def test_a_long_chain_of_identities_is_one_user_without_delay(house: Context, shop: Brand) -> None:
    chain = [event(str(n), user={f"k{(n + 1) % 2}": str(n + 1), f"k{n % 2}": str(n)}) for n in range(MAX_EVENTS)]
    async with asyncio.timeout(10):
        assert (await record(house, shop, chain)).new == MAX_EVENTS
    assert await count(User, shop) == 1


async def test_senders_at_once_do_not_make_two_users_of_one(house: Context, shop: Brand) -> None:
    def batch(sender: int) -> list[IncomingEvent]:
        names = ("a", "b", "c")[sender:]
        return [event(f"{sender}-{n}", user=dict.fromkeys(names, str(n))) for n in range(40)]

    await asyncio.gather(*(record(house, shop, batch(sender)) for sender in (2, 0, 1, 2, 0, 1)))
    assert await count(User, shop) == 40
    assert await count(Event, shop) == 120
    names = await who(shop)
    assert all(len({names[kind, str(n)] for kind in "abc"}) == 1 for n in range(40))


async def test_many_senders_at_once_lose_nothing_and_do_not_get_in_each_others_way(house: Context, shop: Brand) -> None:
    def batch(sender: int) -> list[IncomingEvent]:
        # In opposite orders, so that whoever locks as things come waits for the other in a circle.
        return [
            event(
                f"{sender}-{n}",
                kind="profile.updated",
                user={"member": str(n)},
                at=START + timedelta(days=(sender % 3) * (n - 30), seconds=sender),
                skin=str(sender),
            )
            for n in range(60)
        ]

    for offset in (0, 8):
        done = await asyncio.gather(*(record(house, shop, batch(offset + sender)) for sender in range(8)))
        assert [each.new for each in done] == [60] * 8
    assert await count(Event, shop) == 16 * 60
    users = await User.filter(brand_id=shop.id)
    assert len(users) == 60
    for user in users:
        events = await Event.filter(brand_id=shop.id, user_id=user.id)
        latest = max(events, key=lambda row: row.at)
        assert user.last_seen == latest.at
        assert user.attributes == latest.payload


async def test_the_same_events_at_once_are_kept_once(house: Context, shop: Brand) -> None:
    given = [event(str(n), user={"member": str(n % 9)}) for n in range(200)]
    done = await asyncio.gather(*(record(house, shop, given[k:] + given[:k]) for k in range(0, 200, 40)))
    assert sum(each.new for each in done) == 200
    assert sum(each.duplicate for each in done) == 800
    assert await count(Event, shop) == 200


async def test_an_event_id_used_again_for_somebody_else_makes_nobody_up(house: Context, shop: Brand) -> None:
    await record(house, shop, [event("1")])
    done = await record(house, shop, [event("1", user={"member": "2"}), event("1", user={"member": "3", "phone": "3"})])
    assert (done.new, done.duplicate) == (0, 2)
    assert await count(User, shop) == 1


async def test_two_brands_never_mix_although_names_and_event_ids_are_the_same(house: Context, shop: Brand) -> None:
    other = await Brand.create(slug="other", name="Other", replayed_to=datetime.fromtimestamp(0, UTC))
    given = [event("1", user={"member": "1", "phone": "2"}), event("2", user={"member": "2"})]
    assert [(await record(house, each, given)).new for each in (shop, other)] == [2, 2]
    users = [set(await User.filter(brand_id=each.id).values_list("id", flat=True)) for each in (shop, other)]
    assert not users[0] & users[1]
    for each, own in zip((shop, other), users, strict=True):
        assert len(own) == 2
        assert {row.user_id for row in await Event.filter(brand_id=each.id)} == own
        assert {row.user_id for row in await Identity.filter(brand_id=each.id)} == own
