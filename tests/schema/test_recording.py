"""Events are taken in over the API: once each, the bad ones beside the good ones."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.models import Brand, DirtyUser, Event, RejectedEvent, User

RECORD = """
mutation ($brand: String!, $events: [EventInput!]!) {
  recordEvents(brand: $brand, events: $events) {
    accepted duplicates
    rejected { index field message remedy }
    userErrors { code field message remedy }
  }
}
"""
NUL = chr(0)


def order(key: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": key,
        "kind": "order.paid",
        "at": "2026-05-01T20:00:00+08:00",
        "user": [{"kind": "member", "value": "900"}],
        "payload": {"amount": "19.90"},
        **changes,
    }


async def recorded(api: Any, *events: Any, brand: str = "shop") -> Any:
    return (await api.data(RECORD, brand=brand, events=list(events)))["recordEvents"]


async def test_events_are_kept_and_deciding_is_asked_for(api: Any, brand: Brand) -> None:
    result = await recorded(api, order("a"), order("b", payload={"amount": 5}))
    assert result == {"accepted": 2, "duplicates": 0, "rejected": [], "userErrors": []}
    first = await Event.get(key="a")
    assert (first.kind, first.payload["amount"], first.at.isoformat()) == (
        "order.paid",
        19.9,
        "2026-05-01T12:00:00+00:00",
    )
    assert api.queue.pushed == [("decide", brand.id)]
    assert await DirtyUser.filter(brand_id=brand.id).exists()


async def test_the_same_events_again_change_nothing(api: Any) -> None:
    await recorded(api, order("a"), order("b"))
    api.queue.pushed.clear()
    assert await recorded(api, order("b"), order("a")) == {
        "accepted": 0,
        "duplicates": 2,
        "rejected": [],
        "userErrors": [],
    }
    assert await Event.all().count() == 2
    assert api.queue.pushed == []


async def test_bad_events_are_reported_and_kept_beside_the_good_ones(api: Any) -> None:
    result = await recorded(
        api,
        order("good"),
        order("kind", kind="order.lost"),
        order("payload", payload={"amount": "much"}),
        order("nobody", user=[]),
        order("", payload={}),
    )
    assert result["accepted"] == 1
    assert [(r["index"], r["field"]) for r in result["rejected"]] == [
        (1, "kind"),
        (2, "payload.amount"),
        (3, "user"),
        (4, "id"),
    ]
    assert "order.paid" in result["rejected"][0]["remedy"]
    assert await RejectedEvent.all().count() == 4
    kept = await api.data('{ brand(slug: "shop") { rejectedEvents { totalCount nodes { reason received } } } }')
    assert kept["brand"]["rejectedEvents"]["totalCount"] == 4
    assert kept["brand"]["rejectedEvents"]["nodes"][0]["received"]["kind"] == "order.paid"


async def test_a_queue_that_is_away_loses_nothing(api: Any, brand: Brand, caplog: pytest.LogCaptureFixture) -> None:
    api.queue.away = True
    assert (await recorded(api, order("a")))["accepted"] == 1
    assert await DirtyUser.filter(brand_id=brand.id).exists(), "the sweep will find it"
    assert "could not queue decide" in caplog.text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user": [{"kind": "member", "value": f"9{NUL}"}]}, "user.member"),
        ({"id": f"x{NUL}"}, "id"),
        ({"kind": "\ud800"}, "kind"),
        ({"payload": {"amount": 1, "store": "\udfff"}}, "payload"),
        ({"payload": {f"{NUL}": 1}}, "payload"),
        ({"kind": "profile.updated", "payload": {"skin": NUL}}, "payload.skin"),
    ],
)
async def test_what_the_database_cannot_hold_is_refused_by_itself(api: Any, changes: Any, field: str) -> None:
    result = await recorded(api, order("good"), order("bad", **changes))
    [rejected] = result["rejected"]
    assert (result["accepted"], rejected["index"], result["userErrors"]) == (1, 1, [])
    assert rejected["field"].startswith(field)
    assert rejected["remedy"]
    assert await RejectedEvent.all().count() == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user": [{"kind": "member", "value": "1"}, {"kind": "member", "value": "2"}]}, "events.1.user"),
        ({"payload": ["amount"]}, "events.1.payload"),
        ({"payload": "amount", "kind": "profile.updated"}, "events.1.payload"),
    ],
)
async def test_what_is_no_event_at_all_refuses_the_call(api: Any, changes: Any, field: str) -> None:
    result = await recorded(api, order("good"), order("bad", **changes))
    [error] = result["userErrors"]
    assert (error["code"], error["field"], result["accepted"]) == ("INVALID_INPUT", field, 0)
    assert error["remedy"]
    assert await Event.all().count() == await RejectedEvent.all().count() == 0


async def test_numbers_without_end_are_refused(api: Any) -> None:
    variables = {"brand": "shop", "events": [order("a", payload={"amount": 0.5})]}
    body = json.dumps({"query": RECORD, "variables": variables})
    assert (await api.post(body.replace("0.5", "NaN").encode())).status_code == 400
    answer = (await api.post(body.replace("0.5", "1e999").encode())).json()
    [rejected] = answer["data"]["recordEvents"]["rejected"]
    assert rejected["field"] == "payload.amount"


async def test_a_moment_needs_its_time_zone(api: Any) -> None:
    for at in ("2026-05-01T20:00:00", "yesterday", "2026-05-01", "9999-12-31T23:59:59-12:00", 5):
        [error] = (await api.ask(RECORD, brand="shop", events=[order("a", at=at)]))["errors"]
        assert error["extensions"]["code"] == "INVALID_REQUEST"
        assert "time zone" in error["message"]


async def test_events_without_a_moment_happened_at_the_brands_present(api: Any, brand: Brand) -> None:
    await recorded(api, order("a"))
    await recorded(api, order("b", at=None))
    assert (await Event.get(key="b")).at == (await Event.get(key="a")).at


async def test_too_many_events_are_refused_with_the_limit(api: Any) -> None:
    few = {"id": "x", "kind": "article.opened", "user": [{"kind": "m", "value": "1"}]}
    result = await recorded(api, *({**few, "id": str(number)} for number in range(5001)))
    [error] = result["userErrors"]
    assert (error["field"], error["remedy"]) == ("events", "send at most 5000, or import a file")


async def test_a_brand_that_is_not_there_is_a_user_error(api: Any) -> None:
    for slug in ("no-such", f"sh{NUL}op", "\ud800"):
        result = await recorded(api, order("a"), brand=slug)
        assert [error["code"] for error in result["userErrors"]] == ["NOT_FOUND"]


async def test_users_who_arrive_while_pages_are_read_shift_nothing(api: Any, brand: Brand) -> None:
    start = brand.replayed_to
    assert start is not None

    def visit(member: int) -> IncomingEvent:
        at = start + timedelta(days=member)
        return IncomingEvent(f"v{member}", "article.opened", {"member": str(member)}, {}, at)

    page = """query ($after: String) { brand(slug: "shop") {
      users(first: 3, after: $after, orderBy: {field: LAST_SEEN, direction: DESC}) {
        nodes { id } pageInfo { endCursor } } } }"""
    await record(api.ctx, brand, [visit(member) for member in range(1, 7)])
    first = (await api.data(page))["brand"]["users"]
    await record(api.ctx, brand, [visit(9)])
    then = (await api.data(page, after=first["pageInfo"]["endCursor"]))["brand"]["users"]
    assert len({node["id"] for read in (first, then) for node in read["nodes"]}) == 6
    assert await User.all().count() == 7
