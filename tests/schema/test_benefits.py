"""What there is to give is set and read, and to whom it was given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.models import AuditEntry, Benefit, Brand, Identity
from strawberry.relay import to_base64

from tests.schema.conftest import granted

SET = """mutation ($key: String!, $stock: Int!, $title: String = "", $days: Int) {
  setBenefit(brand: "shop", key: $key, stock: $stock, title: $title, days: $days) {
    benefit { key title stock given left days } userErrors { code field message remedy } } }"""
READ = """{ brand(slug: "shop") { benefits { totalCount nodes { key title given left grants { totalCount nodes {
    code at expiresAt user { id } action { channel status } benefit { key } } } } } } }"""
MINE = """query ($id: ID!) { brand(slug: "shop") { user(id: $id) {
  grants { nodes { code expiresAt benefit { title } } } } } }"""


async def put(api: Any, key: str, stock: int, **given: Any) -> Any:
    return (await api.data(SET, key=key, stock=stock, **given))["setBenefit"]


async def test_what_there_is_goes_down_as_it_is_given(api: Any, brand: Brand) -> None:
    at = "2026-05-01T04:00:00+00:00"
    await Brand.filter(id=brand.id).update(replayed_to=datetime.fromisoformat(at))
    await brand.refresh_from_db()
    made = await put(api, "old_friend", 2, title="老朋友券", days=14)
    wanted = {"key": "old_friend", "title": "老朋友券", "stock": 2, "given": 0, "left": 2, "days": 14}
    assert made == {"benefit": wanted, "userErrors": []}
    await put(api, "a_tea", 5)
    await record(api.ctx, brand, [IncomingEvent("a", "contact.added", {"member": "a"}, {})])
    user = (await Identity.get(brand_id=brand.id, value="a")).user_id
    await granted(api.ctx, brand, user, "old_friend")
    found = (await api.data(READ))["brand"]["benefits"]
    assert (found["totalCount"], [each["key"] for each in found["nodes"]]) == (2, ["a_tea", "old_friend"])
    assert found["nodes"][0]["title"] == "a_tea"
    friend = found["nodes"][1]
    assert (friend["given"], friend["left"], friend["grants"]["totalCount"]) == (1, 1, 1)
    [grant] = friend["grants"]["nodes"]
    code = grant.pop("code")
    assert len(code) == 10
    assert grant == {
        "at": at,
        "expiresAt": "2026-05-15T04:00:00+00:00",
        "user": {"id": to_base64("User", f"{brand.id}:{user}")},
        "action": {"channel": "benefits", "status": "SENT"},
        "benefit": {"key": "old_friend"},
    }
    mine = (await api.data(MINE, id=to_base64("User", f"{brand.id}:{user}")))["brand"]["user"]["grants"]["nodes"]
    assert mine == [{"code": code, "expiresAt": "2026-05-15T04:00:00+00:00", "benefit": {"title": "老朋友券"}}]
    refused = await put(api, "old_friend", 0)
    assert refused["userErrors"][0]["field"] == "stock"
    assert (await put(api, "old_friend", 1))["benefit"]["left"] == 0
    log = await AuditEntry.filter(what="setBenefit", target="old_friend").order_by("id")
    assert [(each.by, each.after) for each in log][1] == (
        "root",
        {"title": "old_friend", "stock": 1, "expiresDays": None},
    )


@pytest.mark.parametrize(
    ("key", "stock", "given", "field"),
    [
        ("Old Friend", 1, {}, "key"),
        ("x" * 81, 1, {}, "key"),
        ("\x00", 1, {}, "key"),
        ("x", -1, {}, "stock"),
        ("x", 2**31 - 1, {}, "stock"),
        ("x", 1, {"days": 0}, "days"),
        ("x", 1, {"title": "a\nb"}, "title"),
        ("x", 1, {"title": "\x00"}, "title"),
    ],
)
async def test_what_cannot_be_given_is_refused(api: Any, key: str, stock: int, given: Any, field: str) -> None:
    refused = await put(api, key, stock, **given)
    [error] = refused["userErrors"]
    assert (refused["benefit"], error["code"], error["field"]) == (None, "INVALID_INPUT", field)
    assert error["remedy"]
    assert not await Benefit.exists()
