"""What users say yes and no to is recorded, read, and held to."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.store.models import Action, AuditEntry, Brand, Consent, Identity
from strawberry.relay import to_base64

from tests.schema.conftest import planned

SAY = """mutation ($user: ID!, $given: Boolean = false, $purpose: Purpose, $channel: String, $source: String,
    $at: DateTime) {
  recordConsent(brand: "shop", user: $user, given: $given, purpose: $purpose, channel: $channel, source: $source,
    at: $at) { user { consents { totalCount nodes { purpose channel given at event { kind payload } } } }
    userErrors { code field message remedy } } }"""


async def who(api: Any, brand: Brand, member: str = "a") -> int:
    await record(api.ctx, brand, [IncomingEvent(member, "contact.added", {"member": member}, {})])
    return int((await Identity.get(brand_id=brand.id, value=member)).user_id)


async def say(api: Any, brand: Brand, user: int, **given: Any) -> Any:
    return (await api.data(SAY, user=to_base64("User", f"{brand.id}:{user}"), **given))["recordConsent"]


async def test_what_a_user_says_last_counts(api: Any, brand: Brand) -> None:
    user = await who(api, brand)
    await say(api, brand, user, given=True, purpose="SALES", source="form", at="2026-05-01T04:00:00Z")
    await say(api, brand, user, channel="outbox", at="2026-05-02T04:00:00Z")
    said = await say(api, brand, user, purpose="SALES", source="hotline", at="2026-05-03T04:00:00Z")
    assert said["userErrors"] == []
    assert said["user"]["consents"] == {
        "totalCount": 2,
        "nodes": [
            {
                "purpose": "SALES",
                "channel": None,
                "given": False,
                "at": "2026-05-03T04:00:00+00:00",
                "event": {"kind": "consent.withdrawn", "payload": {"purpose": "sales", "source": "hotline"}},
            },
            {
                "purpose": None,
                "channel": "outbox",
                "given": False,
                "at": "2026-05-02T04:00:00+00:00",
                "event": {"kind": "consent.withdrawn", "payload": {"channel": "outbox"}},
            },
        ],
    }
    assert ("decide", brand.id) in api.queue.pushed
    assert await AuditEntry.filter(what="recordConsent", by="root").count() == 3


async def test_who_says_no_gets_nothing_more_though_it_is_planned(api: Any, brand: Brand) -> None:
    user = await who(api, brand)
    action = await planned(api.ctx, brand, user, "hello", "outbox", "care")
    await say(api, brand, user, purpose="CARE")
    await dispatch(api.ctx, brand.id)
    found = await Action.get(brand_id=brand.id, id=action)
    assert (found.status, found.reason) == ("suppressed", "opt_out")


async def test_what_those_said_who_count_as_one_is_shown_of_one(api: Any, brand: Brand) -> None:
    one, other = await who(api, brand), await who(api, brand, "b")
    await say(api, brand, other, purpose="SALES")
    await merge_users(api.ctx, brand, one, other, by="test", force=True)
    said = await say(api, brand, one, given=True, purpose="CARE")
    assert [each["purpose"] for each in said["user"]["consents"]["nodes"]] == ["CARE", "SALES"]


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"channel": "pigeon"}, "channel", "NOT_FOUND"),
        ({"source": "x" * 4_001}, "source", "INVALID_INPUT"),
        ({"source": "\x00"}, "source", "INVALID_INPUT"),
        ({"user": to_base64("User", "99:1")}, "user", "NOT_FOUND"),
        ({"user": to_base64("Tag", "1:1")}, "user", "NOT_FOUND"),
    ],
    ids=str,
)
async def test_what_cannot_be_said_is_refused(api: Any, brand: Brand, given: Any, field: str, code: str) -> None:
    wanted = {"user": to_base64("User", f"{brand.id}:{await who(api, brand)}"), **given}
    refused = (await api.data(SAY, **wanted))["recordConsent"]
    [error] = refused["userErrors"]
    assert (refused["user"], error["code"], error["field"]) == (None, code, field)
    assert error["remedy"]
    assert not await Consent.exists()
