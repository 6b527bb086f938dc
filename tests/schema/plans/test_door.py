"""Which requests are answered by a plan, and for how long what it knows is taken to be true."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

import pytest
from siyu.flow.tokens import create_token, revoke
from siyu.store.models import Brand, Tag

QUERY = 'query Users { brand(slug: "shop") { users(first: 2) { nodes { id tags { key title } } } } }'


async def planned(world: Any, query: str = QUERY, token: str | None = None, **variables: Any) -> bool:
    """Whether a plan answers."""
    counts = world.app.state.door.plans.counts
    before = counts.planned
    await world.ask(query, token, **variables)
    return bool(counts.planned > before)


async def test_a_document_has_a_plan_when_it_comes_again(world: Any) -> None:
    assert [await planned(world, QUERY + " # again") for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize(
    "query",
    [
        "{ version }",
        "{ brands { slug } }",
        '{ brand(slug: "nope") { id } }',
        '{ brand(slug: "shop") { id } version }',
        '{ brand(slug: "shop") { plugins { name } } }',
        '{ brand(slug: "shop") { users(first: 101) { nodes { id } } } }',
        '{ brand(slug: "shop") { users(after: "x") { nodes { id } } } }',
        '{ brand(slug: "shop") { nothing } }',
        "{ __schema { queryType { name } } }",
        "{",
    ],
)
async def test_what_is_not_known_or_refused_is_for_resolvers(world: Any, door: Any, query: str) -> None:
    assert not await planned(world, query)


@pytest.mark.parametrize("window", [{"first": 5}, {"last": 5}, {"first": 0}])
async def test_users_are_found_by_facts_with_a_plan(world: Any, door: Any, window: Any) -> None:
    query = """query ($filter: UserFilter, $first: Int, $last: Int, $after: String) { brand(slug: "shop") {
        users(filter: $filter, first: $first, last: $last, after: $after) {
          asOf totalCount pageInfo { hasNextPage hasPreviousPage endCursor } edges { cursor node { id } } } } }"""
    given = {"filter": {"fact": [{"plugin": "rfm", "rule": "rfm", "name": "frequency", "gte": 2}]}, **window}
    door.open = False
    slow = await world.data(query, **given)
    door.open = True
    assert await world.data(query, **given) == slow
    users = slow["brand"]["users"]
    assert users["asOf"].startswith("2026")
    assert 5 < users["totalCount"] < 45
    after = users["pageInfo"]["endCursor"]
    assert await planned(world, query, **{**given, "last": None, "after": after})
    assert door.plans.counts.ordinary == 0


async def test_parts_left_out_by_variables_make_plans_of_their_own(world: Any, door: Any) -> None:
    query = """query ($tags: Boolean!) { brand(slug: "shop") { users(first: 1) { nodes {
        id tags @include(if: $tags) { key } plugin: explain @skip(if: true) { tags { key } } } } } }"""
    for tags in (True, False, True):
        answer = await world.data(query, tags=tags)
        assert ("tags" in answer["brand"]["users"]["nodes"][0]) is tags
    assert door.plans.counts.planned == 3


async def test_no_document_takes_more_than_its_share_of_memory(world: Any, door: Any) -> None:
    names = [f"v{number}" for number in range(6)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: zone @include(if: ${name})" for name in names)
    query = f'query ({declared}) {{ brand(slug: "shop") {{ slug {fields} }} }}'
    for number in range(40):
        flags = {name: bool(number >> bit & 1) for bit, name in enumerate(names)}
        answer = await world.data(query, **flags)
        assert set(answer["brand"]) == {"slug", *(name for name, wanted in flags.items() if wanted)}
    assert (door.plans.counts.planned, door.plans.counts.ordinary) == (16, 24)


async def test_a_plan_that_fails_is_told_of_and_made_up_for(
    world: Any, door: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expected = await world.data(QUERY)
    with patch("siyu_graphql.plans.runner._written", side_effect=RuntimeError("a mistake of ours")):
        assert await world.data(QUERY) == expected
    assert "a plan failed" in caplog.text


async def test_a_token_that_was_revoked_reads_on_for_no_more_than_a_moment(world: Any, door: Any) -> None:
    token = await create_token("viewer", await Brand.get(slug="shop"))
    assert await planned(world, token=token)
    await revoke(token)
    soon = time.monotonic() + 1.01
    with patch("siyu_graphql.plans.recent.time.monotonic", lambda: soon):
        assert (await world.post({"query": QUERY}, token)).status_code == 401
    assert (await world.post({"query": "{ version }"}, token)).status_code == 401, "resolvers look every time"


async def test_a_mutation_makes_plans_look_again(world: Any, door: Any) -> None:
    shown = (await world.data(QUERY))["brand"]["users"]["nodes"][0]["tags"][0]
    tag = await Tag.get(brand_id=(await Brand.get(slug="shop")).id, key=shown["key"])
    await Tag.filter(id=tag.id).update(title="Another")
    await world.ask('mutation { refreshBrand(brand: "shop") { queued } }')
    assert await planned(world)
    assert (await world.data(QUERY))["brand"]["users"]["nodes"][0]["tags"][0]["title"] == "Another"
    await Tag.filter(id=tag.id).update(title=tag.title)
    door.plans.forget()


async def test_a_plan_costs_what_resolvers_cost(world: Any, door: Any) -> None:
    query = """query ($n: Int) {
      brand(slug: "shop") { users(first: $n) { nodes { id actions(first: $n) { nodes { id } } } } }
    }"""
    costs = {}
    for door.open in (False, True):
        for n in (3, 30):
            costs[n, door.open] = (await world.ask(query, n=n))["extensions"]["cost"]["requested"]
    assert door.plans.counts.planned == 2
    assert costs[3, True] == costs[3, False] < costs[30, False] / 10
    assert costs[30, True] == costs[30, False]


async def test_what_is_too_dear_is_refused_before_it_is_read(world: Any, door: Any) -> None:
    query = """{ brand(slug: "shop") { users(first: 100) { nodes {
      events(first: 100) { nodes { user { events(first: 100) { nodes { key } } } } } } } } }"""
    door.open = False
    slow = await world.ask(query)
    door.open = True
    with world.statements() as sent:
        assert (await world.ask(query))["errors"] == slow["errors"]
    assert slow["errors"][0]["extensions"]["code"] == "TOO_LARGE"
    assert sent == []
