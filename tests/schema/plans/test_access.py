"""Plans give nobody what resolvers would not: what is personal, what is too dear."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow.tokens import create_token
from siyu.store.models import Brand

PERSONAL = [
    "users(first: 3) { nodes { id identities { kind value } } }",
    "users(first: 3) { nodes { id attributes } }",
    "users(first: 3) { nodes { tags { key because } stages { key because } } }",
    "events(first: 3) { nodes { payload } }",
    "actions(first: 3) { nodes { because detail } }",
    "rejectedEvents(first: 3) { nodes { received } }",
    'users(filter: {attribute: [{name: "phone", eq: "13800000000"}]}) { nodes { id } }',
    'user(identity: {kind: "phone", value: "13800000000"}) { id }',
]
LISTS = """query ($n: Int) {
  brand(slug: "shop") { users(first: $n) { nodes { id actions(first: $n) { nodes { id } } } } }
}"""


@pytest.mark.parametrize("selected", PERSONAL)
async def test_what_may_be_personal_has_no_plan(world: Any, door: Any, selected: str) -> None:
    viewer = await create_token("viewer", await Brand.get(slug="shop"))
    query = f'{{ brand(slug: "shop") {{ {selected} }} }}'
    answers = [await world.ask(query, viewer) for _ in range(3)]
    assert door.plans.counts.planned == 0
    assert [each.get("data") for each in answers] == [answers[0].get("data")] * 3


async def test_a_plan_costs_what_resolvers_cost(world: Any, door: Any) -> None:
    costs = {}
    for door.open in (False, True):
        for n in (3, 30):
            answer = await world.ask(LISTS, world.token, n=n)
            costs[n, door.open] = answer["extensions"]["cost"]["requested"]
    assert door.plans.counts.planned == 2
    assert costs[3, True] == costs[3, False] < costs[30, False] / 10
    assert costs[30, True] == costs[30, False]
