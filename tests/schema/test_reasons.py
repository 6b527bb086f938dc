"""Why a user has what they have: by a plan, by resolvers, in an explanation, and when it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from siyu.flow import plugins
from siyu.flow.decide import decide_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.tokens import create_token
from siyu.store.models import Brand

from tests.schema.conftest import START


async def test_the_reason_of_a_tag_is_in_the_words_of_the_case_that_held(api: Any, brand: Brand) -> None:
    await plugins.enable(api.ctx, brand, "mother_baby")
    milk = {"amount": 9, "items": [{"category": "奶瓶", "amount": 9}]}
    await record(
        api.ctx,
        brand,
        [
            IncomingEvent("p1", "profile.updated", {"member": "1"}, {"due_date": "2025-10-20"}, START),
            IncomingEvent("o2", "order.paid", {"member": "2"}, milk, START),
        ],
    )
    await decide_users(api.ctx, brand.id)
    token = await create_token("viewer", brand)
    plain = '{ brand(slug: "shop") { users { nodes { tags { key because } } } } }'
    query = """{ brand(slug: "shop") { users { nodes { tags { key because } explain { tags { key stands { because }
      because facts { name value } } } tagHistory { nodes { because endedBecause } } } } } }"""

    async def told(bearer: str | None = None) -> list[Any]:
        users: list[Any] = (await api.ask(query, token=bearer))["data"]["brand"]["users"]["nodes"]
        planned = (await api.ask(plain, token=bearer))["data"]["brand"]["users"]["nodes"]
        assert planned == [{"tags": user["tags"]} for user in users]
        for user in users:
            by_key = {tag["key"]: tag for tag in user["explain"]["tags"]}
            for tag in user["tags"]:
                assert by_key[tag["key"]]["stands"]["because"] == by_key[tag["key"]]["because"] == tag["because"]
        return users

    due, bought = await told()
    born = "months since birthday or due date"
    assert {tag["because"] for tag in due["tags"]} >= {f"2 full {born}"}
    assert {tag["because"] for tag in bought["tags"]} == {"bought such things 1 times in 60 days, no later ones"}
    facts = {fact["name"]: fact["value"] for tag in due["explain"]["tags"][:1] for fact in tag["facts"]}
    assert (facts["age"], facts["months since due_date"]) == (2.0, 2)
    masked, _ = await told(token)
    assert {tag["because"] for tag in masked["tags"]} >= {f"** full {born}"}

    again = IncomingEvent(
        "p2", "profile.updated", {"member": "1"}, {"due_date": "2024-10-20"}, START + timedelta(hours=1)
    )
    await record(api.ctx, brand, [again])
    await decide_users(api.ctx, brand.id)
    [after, _] = await told()
    ended = {each["because"]: each["endedBecause"] for each in after["tagHistory"]["nodes"]}
    assert ended[f"2 full {born}"] == f"14 full {born}; bought such things 0 times in 60 days, no later ones"
