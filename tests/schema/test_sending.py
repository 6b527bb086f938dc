"""A shop's own system has a message sent: once, and past the guard."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow.tokens import create_token
from siyu.store.models import Action, Brand
from strawberry.relay import to_base64

from tests.schema.test_playbooks import users

SEND = """mutation ($users: [ID!]!, $message: MessageInput!, $key: String = "order-771") {
  sendMessage(brand: "shop", key: $key, users: $users, message: $message) {
    planned userErrors { code field message remedy } } }"""
SHIPPED = {"channel": "outbox", "purpose": "SERVICE", "text": "{{ name }}, your order has left", "urgent": True}
TOLD = """query ($id: ID!) { brand(slug: "shop") { user(id: $id) { actions(first: 1) { nodes {
  text channel purpose urgent status because playbook } } } } }"""


async def test_a_message_is_sent_to_each_once(world: Any) -> None:
    some = (await users(world))[:2]
    first = (await world.data(SEND, users=some, message=SHIPPED))["sendMessage"]
    assert first == {"planned": 2, "userErrors": []}
    shop = await Brand.get(slug="shop")
    assert ("dispatch", shop.id) in world.queue.pushed
    again = (await world.data(SEND, users=some, message=SHIPPED))["sendMessage"]
    assert again == {"planned": 0, "userErrors": []}
    [action] = (await world.data(TOLD, id=some[0]))["brand"]["user"]["actions"]["nodes"]
    assert action.pop("text").endswith(", your order has left")
    assert action == {
        "channel": "outbox",
        "purpose": "SERVICE",
        "urgent": True,
        "status": "PLANNED",
        "because": "asked for: order-771",
        "playbook": "message",
    }
    slow = {"users": some, "message": {**SHIPPED, "urgent": False}, "key": "slow"}
    assert (await world.data(SEND, **slow))["sendMessage"]["planned"] == 2
    assert ("campaign", shop.id) in world.queue.pushed
    await Action.filter(brand_id=shop.id, playbook="message").delete()


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"message": {**SHIPPED, "text": "{{ user.password }}"}}, "text", "INVALID_INPUT"),
        ({"message": {**SHIPPED, "text": ""}}, "text", "INVALID_INPUT"),
        ({"message": {**SHIPPED, "text": "\x00"}}, "text", "INVALID_INPUT"),
        ({"message": {**SHIPPED, "channel": "pigeon"}}, "channel", "NOT_FOUND"),
        ({"message": {**SHIPPED, "template": "none"}}, "template", "NOT_FOUND"),
        ({"users": [to_base64("User", "99:1")]}, "users", "INVALID_INPUT"),
        ({"users": []}, "users", "INVALID_INPUT"),
        ({"key": ""}, "key", "INVALID_INPUT"),
    ],
    ids=str,
)
async def test_one_that_cannot_be_sent_says_what_to_do(
    world: Any, change: dict[str, Any], field: str, code: str
) -> None:
    given = {"users": (await users(world))[:1], "message": SHIPPED, **change}
    refused = (await world.data(SEND, **given))["sendMessage"]
    [error] = refused["userErrors"]
    assert (refused["planned"], error["field"], error["code"]) == (None, field, code)
    assert error["remedy"]


async def test_whoever_may_not_see_personal_data_cannot_have_a_message_tell_it(world: Any) -> None:
    asking = {**SHIPPED, "text": "{% if user.birthday == '1990-09-09' %}yes{% else %}no{% endif %}"}
    given = {"users": (await users(world))[:1], "message": asking, "key": "ask"}
    operator = await create_token("operator", await Brand.get(slug="shop"), "no personal")
    refused = (await world.ask(SEND, token=operator, **given))["data"]["sendMessage"]
    [error] = refused["userErrors"]
    assert (refused["planned"], error["code"], error["field"]) == (None, "FORBIDDEN", "message.text")
