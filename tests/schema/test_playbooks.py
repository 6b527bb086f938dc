"""Playbooks are read step by step, drawn, started by hand, and followed."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow.playbooks import carry_on
from siyu.store.models import Action, Brand
from strawberry.relay import to_base64

NAME = "lifecycle.welcome_back"
READ = """{ brand(slug: "shop") { playbooks {
  id name plugin key title trigger audience goal reentry diagram entered underWay
  steps { key kind words channel purpose role texts { language text } ways { name step } } } } }"""
START = """mutation ($users: [ID!]!, $playbook: String = "lifecycle.welcome_back", $occasion: String = "may") {
  startPlaybook(brand: "shop", playbook: $playbook, users: $users, occasion: $occasion) {
    started playbook { underWay } userErrors { code field message remedy } } }"""
UNDER_WAY = """query ($id: ID!) { brand(slug: "shop") { user(id: $id) {
  enrolments(first: 1) { nodes { id playbook status step because why user { id } } }
  actions(first: 1) { nodes { playbook step urgent reason status story { status reason } } } } } }"""


async def users(api: Any) -> list[str]:
    found = await api.data('{ brand(slug: "shop") { users(first: 5) { nodes { id } } } }')
    return [node["id"] for node in found["brand"]["users"]["nodes"]]


async def test_a_playbook_is_read_step_by_step(world: Any) -> None:
    [found] = [each for each in (await world.data(READ))["brand"]["playbooks"] if each["name"] == NAME]
    assert (found["plugin"], found["key"], found["title"]) == ("lifecycle", "welcome_back", "欢迎回来")
    assert found["trigger"] == "lifecycle: decline, dormant, lost → growth, intro, mature"
    assert (found["audience"], found["goal"], found["reentry"]) == ("always", None, "always")
    [step] = found["steps"]
    assert (step["kind"], step["channel"], step["purpose"], step["role"]) == ("Send", "outbox", "CARE", None)
    assert step["ways"] == [{"name": "", "step": None}]
    assert step["texts"][0]["text"].startswith("好久不见")
    assert found["diagram"].startswith("flowchart TD")
    assert found["entered"] >= found["underWay"]


async def test_it_is_started_by_hand_and_once_an_occasion(world: Any) -> None:
    some = (await users(world))[:2]
    first = (await world.data(START, users=some))["startPlaybook"]
    assert (first["started"], first["playbook"]["underWay"], first["userErrors"]) == (2, 0, [])
    shop = await Brand.get(slug="shop")
    assert ("campaign", shop.id) in world.queue.pushed
    log = (await world.data('{ brand(slug: "shop") { auditLog(first: 1) { nodes { what target } } } }'))["brand"]
    assert log["auditLog"]["nodes"] == [{"what": "startPlaybook", "target": NAME}]
    again = (await world.data(START, users=some))["startPlaybook"]
    assert (again["started"], again["userErrors"]) == (0, [])
    assert (await carry_on(world.ctx, shop.id)).actions == 0
    user = (await world.data(UNDER_WAY, id=some[0]))["brand"]["user"]
    [enrolment] = user["enrolments"]["nodes"]
    assert enrolment.pop("id")
    assert enrolment == {
        "playbook": NAME,
        "status": "DONE",
        "step": None,
        "because": "root",
        "why": "",
        "user": {"id": some[0]},
    }
    [action] = user["actions"]["nodes"]
    assert action == {
        "playbook": "welcome_back",
        "step": "send_1",
        "urgent": False,
        "reason": "",
        "status": "PLANNED",
        "story": [{"status": "PLANNED", "reason": ""}],
    }
    await Action.filter(brand_id=shop.id, status="planned").delete()


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"playbook": "lifecycle.nothing"}, "playbook", "NOT_FOUND"),
        ({"users": [to_base64("User", "99:1")]}, "users", "INVALID_INPUT"),
        ({"users": [to_base64("Tag", "1:1")]}, "users", "INVALID_INPUT"),
        ({"users": [to_base64("User", "1:1")] * 1001}, "users", "INVALID_INPUT"),
        ({"occasion": ""}, "occasion", "INVALID_INPUT"),
        ({"occasion": "x" * 81}, "occasion", "INVALID_INPUT"),
    ],
    ids=str,
)
async def test_a_start_that_cannot_be_says_what_to_do(
    world: Any, change: dict[str, Any], field: str, code: str
) -> None:
    given = {"users": await users(world), **change}
    refused = (await world.data(START, **given))["startPlaybook"]
    [error] = refused["userErrors"]
    assert (refused["started"], error["field"], error["code"]) == (None, field, code)
    assert error["remedy"]


async def test_what_it_will_send_is_shown_and_nothing_written(world: Any) -> None:
    ask = """query ($days: Int!) { brand(slug: "shop") {
      previewPlaybook(playbook: "lifecycle.welcome_back", days: $days) {
      entering underWay expected { day step channel purpose messages passing delayed
        held { reason meaning messages } } } } }"""
    before = await Action.all().count()
    found = (await world.data(ask, days=7))["brand"]["previewPlaybook"]
    assert found["underWay"] == 0
    assert all(each["messages"] > 0 and each["channel"] == "outbox" for each in found["expected"])
    for each in found["expected"]:
        held = sum(some["messages"] for some in each["held"])
        assert each["passing"] + held == pytest.approx(each["messages"], abs=0.1)
        assert all(some["meaning"] for some in each["held"])
    assert await Action.all().count() == before
    refused = await world.ask(ask, days=0)
    assert refused["errors"][0]["extensions"]["field"] == "days"
