"""The calendar of content shows what the days ahead have in plan."""

from __future__ import annotations

from typing import Any

from siyu.flow import plugins
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.models import Brand, Enrolment

from tests.schema.conftest import START

ASK = """query ($days: Int!) { brand(slug: "shop") { users { nodes { id } } calendar(days: $days) {
  day playbook title step channel purpose template users } } }"""
BEGIN = """mutation ($users: [ID!]!) { startPlaybook(
  brand: "shop", playbook: "lifecycle.welcome_back", users: $users, occasion: "may") { userErrors { code } } }"""


async def test_what_those_who_are_under_way_come_to_is_in_plan(api: Any, brand: Brand) -> None:
    await plugins.enable(api.ctx, brand, "lifecycle")
    await record(api.ctx, brand, [IncomingEvent("a", "contact.added", {"member": "a"}, {}, START)])
    await Brand.filter(id=brand.id).update(replayed_to=START)
    found = (await api.data(ASK, days=30))["brand"]
    assert found["calendar"] == []
    await api.data(BEGIN, users=[node["id"] for node in found["users"]["nodes"]])
    # It waits for nothing, so that who comes in is at its end at once; this one has yet to be moved on.
    await Enrolment.filter(brand_id=brand.id).update(status="active", ended_at=None)
    assert (await api.data(ASK, days=1))["brand"]["calendar"] == [
        {
            "day": "2026-01-01",
            "playbook": "lifecycle.welcome_back",
            "title": "欢迎回来",
            "step": "send_1",
            "channel": "outbox",
            "purpose": "CARE",
            "template": "lifecycle.welcome_back.send_1",
            "users": 1,
        }
    ]
    refused = await api.ask(ASK, days=91)
    assert refused["errors"][0]["extensions"]["field"] == "days"
