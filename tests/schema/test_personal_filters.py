"""Whoever may not see personal data may not find users by it either."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow import plugins, segments
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.tokens import Forbidden, create_token
from siyu.store.models import AuditEntry, Brand

from tests.schema.conftest import START

USERS = """query ($filter: UserFilter, $orderBy: UserOrder) { brand(slug: "shop") {
  users(filter: $filter, orderBy: $orderBy) { nodes { id } } } }"""
CREATE = """mutation ($filter: UserFilter!) { createSegment(brand: "shop", name: "babies", filter: $filter) {
  segment { name filter } userErrors { code field message remedy } } }"""
CHANGE = CREATE.replace("createSegment", "updateSegment").replace('"babies"', '"all"')
SHOWN = '{ brand(slug: "shop") { segment(name: "babies") { filter users { nodes { id } } } } }'
BORN = {"plugin": "mother_baby", "rule": "baby_age", "name": "age"}
YOUNG: dict[str, Any] = {"fact": [{**BORN, "lte": 3}]}
ON_THAT_DAY: dict[str, Any] = {"NOT": {"AND": [{"attribute": [{"name": "baby_birthday", "eq": "2026-04-05"}]}]}}


@pytest.fixture
async def bearers(api: Any, brand: Brand) -> dict[str, str]:
    """Tokens of an operator, of one who sees personal data, and of an admin, over a brand with two mothers."""
    await plugins.enable(api.ctx, brand, "mother_baby")
    for number, born in enumerate(("2026-04-05", "2025-01-01")):
        user = {"phone": f"1380000000{number}"}
        event = IncomingEvent(f"e{number}", "profile.updated", user, {"baby_birthday": born}, START)
        await record(api.ctx, brand, [event])
    await segments.create(api.ctx, brand, "all", {})
    return {
        "operator": await create_token("operator", brand),
        "seeing": await create_token("operator", brand, "seeing", personal=True),
        "admin": await create_token("admin", brand, "admin"),
    }


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"filter": YOUNG}, "filter.fact.0"),
        ({"filter": {"OR": [{"NOT": YOUNG}]}}, "filter.OR.0.NOT.fact.0"),
        ({"filter": ON_THAT_DAY}, "filter.NOT.AND.0.attribute.0"),
        ({"filter": {"attribute": [{"name": "phone", "in": ["1", "2"]}]}}, "filter.attribute.0"),
        ({"orderBy": {"fact": BORN}}, "orderBy.fact"),
    ],
)
async def test_filters_and_orders_by_it_need_the_right_and_are_noted(
    api: Any, bearers: Any, asked: Any, field: str
) -> None:
    answer = await api.ask(USERS, token=bearers["operator"], **asked)
    [error] = answer["errors"]
    assert (answer["data"]["brand"], error["extensions"]["code"]) == (None, "FORBIDDEN")
    assert error["extensions"]["field"] == field
    assert "personal data" in error["extensions"]["remedy"]
    assert await AuditEntry.filter(what="readPersonalData").count() == 0
    for name in ("seeing", "admin"):
        assert "errors" not in await api.ask(USERS, token=bearers[name], **asked)
        assert await AuditEntry.filter(what="readPersonalData", by=name).count() == 1
    again = await api.ask(USERS, token=bearers["operator"], **asked)
    remaining, before = (each["extensions"]["cost"].pop("remaining") for each in (again, answer))
    assert again == answer, "also once the document has a plan"
    assert before - remaining == answer["extensions"]["cost"]["requested"], "it is paid for once"


async def test_whether_there_is_something_may_be_asked_as_it_is_shown(api: Any, bearers: Any) -> None:
    there = {"attribute": [{"name": "baby_birthday", "isMissing": False}], "identity": ["phone"]}
    answer = await api.ask(USERS, token=bearers["operator"], filter=there)
    assert len(answer["data"]["brand"]["users"]["nodes"]) == 2


@pytest.mark.parametrize("change", [CREATE, CHANGE])
@pytest.mark.parametrize("filter", [YOUNG, ON_THAT_DAY])
async def test_nobody_keeps_a_segment_of_what_they_may_not_ask(
    api: Any, bearers: Any, change: str, filter: Any
) -> None:
    answer = await api.ask(change, token=bearers["operator"], filter=filter)
    [payload] = answer["data"].values()
    assert payload["segment"] is None
    assert [error["code"] for error in payload["userErrors"]] == [Forbidden.code]
    answer = await api.ask(change, token=bearers["seeing"], filter=filter)
    [payload] = answer["data"].values()
    assert payload["userErrors"] == []
    assert payload["segment"]["filter"] == filter


async def test_a_segment_of_one_who_may_is_for_all_with_its_values_masked(api: Any, bearers: Any, brand: Brand) -> None:
    kept = {**YOUNG, **ON_THAT_DAY}
    await api.ask(CREATE, token=bearers["admin"], filter=kept)
    masked = {
        "fact": [{**BORN, "lte": "**"}],
        "NOT": {"AND": [{"attribute": [{"name": "baby_birthday", "eq": "2**"}]}]},
    }
    for bearer, shown in (("operator", masked), ("admin", kept)):
        segment = (await api.ask(SHOWN, token=bearers[bearer]))["data"]["brand"]["segment"]
        assert segment["filter"] == shown
    await plugins.disable(api.ctx, brand, "mother_baby")
    segment = (await api.ask(SHOWN.replace("users { nodes { id } }", ""), token=bearers["operator"]))["data"]
    assert segment["brand"]["segment"]["filter"] == masked, "of a fact that is no more nobody knows"


async def test_changes_of_segments_are_in_the_audit_log(api: Any, bearers: Any) -> None:
    await api.ask(CREATE, token=bearers["admin"], filter=YOUNG)
    await api.ask('mutation { deleteSegment(brand: "shop", name: "babies") { userErrors { code } } }', bearers["admin"])
    rows = await AuditEntry.filter(target="babies").order_by("id")
    assert [(row.what, row.by, row.after) for row in rows] == [
        ("createSegment", "admin", {"title": "babies"}),
        ("deleteSegment", "admin", {"title": "babies"}),
    ]
