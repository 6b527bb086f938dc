"""What a request may cost and how long it may take, before and while it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
import siyu_graphql
from graphql import parse, validate
from hypothesis import given, settings
from hypothesis import strategies as st
from siyu.contract.manager import PluginManager
from siyu.flow.tokens import create_token
from siyu.jobs import Queue
from siyu.runtime import Addresses, ApiSettings
from siyu.store.models import Brand
from siyu_graphql.cost import LISTED, price
from siyu_graphql.meter import Meter, RateLimited

SCHEMA = siyu_graphql.build_schema(PluginManager.load(extra_specs=[siyu_graphql.hooks]))._schema


def cost(selection: str, head: str = "", **variables: Any) -> int:
    """What a query costs."""
    document = parse(f"{head} {{ {selection} }}")
    assert validate(SCHEMA, document) == []
    return price(SCHEMA, document, None).of(variables)


# -- the model ----------------------------------------------------------------------------------------------------


TEST = '{plugin: "p", name: "n"}'


@pytest.mark.parametrize(
    ("selection", "costs"),
    [
        ("version", 0),
        ("me { role }", 1),
        ('brand(slug: "s") { name slug }', 1),
        ('brand(slug: "s") { users(first: 50) { nodes { id } } }', 1 + 1 + 50),
        ('brand(slug: "s") { users { edges { cursor node { id } } } }', 1 + 1 + 20 + 20),
        ('brand(slug: "s") { users(first: 50) { pageInfo { endCursor } totalCount } }', 1 + 1 + 1 + 10),
        ('brand(slug: "s") { tags { key } }', 1 + LISTED),
        ('brand(slug: "s") { users(first: 50) { nodes { tags { key } } } }', 1 + 1 + 50 * (1 + LISTED)),
        ('brand(slug: "s") { users(first: 50) { nodes { events(first: 9) { nodes { id } } } } }', 2 + 50 * (1 + 1 + 9)),
        ('brand(slug: "s") { users(first: 2) { nodes { explain { at } } } }', 2 + 2 * (1 + 1 + 500)),
        ('brand(slug: "s") { replay(since: "2026-01-01T00:00:00Z") { moments { at } } }', 1 + 10_000 + 1 + LISTED),
        ('brand(slug: "s") { users(first: 5000) { nodes { id } } }', 1 + 1 + 100),
        ('brand(slug: "s") { users(first: -5) { nodes { id } } }', 1 + 1),
        ('brand(slug: "s") { users(last: 50) { nodes { id } } }', 1 + 1 + 50),
        ('brand(slug: "s") { users(first: null, last: 50) { nodes { id } } }', 1 + 1 + 50),
        ('brand(slug: "s") { users(first: 2, last: 50) { nodes { id } } }', 1 + 1 + 50),
        ('brand(slug: "s") { tokens { nodes { id } } }', 1 + 1 + 20),
        ('brand(slug: "s") { segments(first: 3) { nodes { size { users } } } }', 1 + 1 + 3 * (1 + 500 + 1)),
        ('brand(slug: "s") { segment(name: "a") { users(first: 9) { nodes { id } } } }', 1 + 1 + 200 + 1 + 9),
        ('brand(slug: "s") { stageFlows(track: "t", since: "2026-01-01T00:00:00Z") { users } }', 1 + 500 + LISTED),
        ('brand(slug: "s") { users(filter: {tag: "a"}) { nodes { id } } }', 1 + 1 + 20),
        (f'brand(slug: "s") {{ users(filter: {{fact: [{TEST}, {TEST}]}}) {{ nodes {{ id }} }} }}', 1 + 400 + 1 + 20),
        (f'brand(slug: "s") {{ users(filter: {{OR: [{{NOT: {{fact: {TEST}}}}}]}}) {{ totalCount }} }}', 1 + 200 + 11),
        (f'brand(slug: "s") {{ users(orderBy: {{fact: {TEST}}}) {{ totalCount }} }}', 1 + 200 + 11),
        ('nodes(ids: ["a", "b", "c"]) { id }', 3),
        ('nodes(ids: ["a", "b"]) { id ... on User { events(first: 5) { nodes { id } } } }', 2 * (1 + 1 + 5)),
        ("__schema { types { name fields { name } } }", 0),
    ],
)
def test_an_operation_costs_about_as_much_as_the_objects_that_it_reads(selection: str, costs: int) -> None:
    assert cost(selection) == costs


def test_what_is_asked_twice_is_merged_and_what_has_another_name_is_not() -> None:
    once = 'brand(slug: "s") { users(first: 50) { nodes { tags { key } } } }'
    assert cost(f"{once} {once}") == cost(once)
    assert cost(f"a: {once} b: {once}") == 2 * cost(once)
    fragment = "fragment f on Brand { users(first: 50) { nodes { tags { key } } }"
    spread = f'brand(slug: "s") {{ ...f ... on Brand {{ ...f }} }} }} {fragment}'
    assert cost(spread) == cost(once)


def test_variables_count_as_what_they_are_and_defaults_where_they_are_not_given() -> None:
    page = 'brand(slug: "s") { users(first: $n) @include(if: $all) { nodes { id } } }'
    head = "query ($n: Int = 7, $all: Boolean!)"
    assert cost(page, head, n=50, all=True) == 52
    assert cost(page, head, all=True) == 9
    assert cost(page, head, all=False) == 1
    assert cost(page, head, n=None, all=True) == 22
    assert cost(page, head, n="nonsense", all=True) == 22, "which is refused when it runs"
    twice = page + page.replace("@include(if: $all)", "@skip(if: $all)")
    assert cost(twice, head, n=50, all=False) == 52


def test_pages_from_either_end_ids_and_facts_count_in_variables_too() -> None:
    page = 'brand(slug: "s") { users(first: $n, last: $m) { nodes { id } } }'
    head = "query ($n: Int, $m: Int)"
    assert [cost(page, head, **given) for given in ({}, {"n": 5}, {"m": 50}, {"n": 5, "m": 50})] == [22, 7, 52, 52]
    assert cost("nodes(ids: $ids) { id }", "query ($ids: [ID!]!)", ids=["a"] * 7) == 7
    test = {"plugin": "p", "name": "n"}
    found = 'brand(slug: "s") { users(first: 1, filter: $f, orderBy: $o) { nodes { id } } }'
    head = "query ($f: UserFilter, $o: UserOrder)"
    assert cost(found, head) == 3
    assert cost(found, head, f={"AND": [{"fact": [test, test]}, {"NOT": {"fact": test}}]}) == 3 + 600
    assert cost(found, head, o={"fact": test}) == 3 + 200
    assert cost(found, 'query ($f: UserFilter = {fact: [{plugin: "p", name: "n"}]}, $o: UserOrder)') == 3 + 200
    part = 'brand(slug: "s") { users(first: 1, filter: {OR: {fact: $t}}) { nodes { id } } }'
    assert cost(part, "query ($t: [FactFilter!])", t=[test] * 3) == 3 + 600
    deep: Any = {"fact": [test]}
    for _ in range(2_000):
        deep = {"NOT": deep}
    assert cost(found, head, f=deep) == 3, "which is refused when it runs"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from(["events", "actions", "tagHistory"]))
def test_more_never_costs_less(first: int, nested: int, name: str) -> None:
    def ask(a: int, b: int) -> int:
        inner = "key" if name == "tagHistory" else "id"
        return cost(
            f'brand(slug: "s") {{ users(first: {a}) {{ nodes {{ {name}(first: {b}) {{ nodes {{ {inner} }} }} }} }} }}'
        )

    here = ask(first, nested)
    assert here == 2 + first * (2 + nested)
    assert ask(min(first + 1, 100), nested) >= here <= ask(first, min(nested + 1, 100))


# -- of a request -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(api: Any, **given: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """The API with other settings."""
    app = siyu_graphql.create_app(api.ctx, api.queue, settings=ApiSettings(**given))
    headers = {"authorization": f"Bearer {api.token}"}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://siyu", headers=headers
    ) as http:
        yield http


PAGE = '{ brand(slug: "shop") { users(first: 100) { nodes { events(first: %d) { nodes { id } } } } } }'


async def test_the_cost_is_told_and_what_is_too_dear_is_refused_before_it_runs(api: Any) -> None:
    answer = await api.ask(PAGE % 10)
    budget = ApiSettings().cost_per_minute
    assert answer["extensions"] == {
        "cost": {"requested": 1202, "limit": 30_000, "perMinute": budget, "remaining": budget - 1202}
    }
    three = " ".join(f"{name}(first: 100) {{ nodes {{ __typename }} }}" for name in ("events", "actions", "tagHistory"))
    with api.statements() as sent:
        answer = await api.ask(f'{{ brand(slug: "shop") {{ users(first: 100) {{ nodes {{ {three} }} }} }} }}')
    assert sent == []
    [error] = answer["errors"]
    assert answer["data"] is None
    assert error["message"] == "the request costs 30402; 30000 is the limit"
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert "shorter pages" in error["extensions"]["remedy"]
    assert answer["extensions"]["cost"] == {"requested": 30402, "limit": 30_000}


async def test_a_token_has_a_budget_of_its_own_for_each_minute(api: Any, brand: Brand) -> None:
    other = await create_token("viewer", brand)
    with patch("siyu_graphql.meter.time.time", lambda: 60_000.0 * 60 + 15):
        async with serving(api, cost_per_minute=2_000) as http:
            left = []
            for _ in range(2):
                answer = (await http.post("/graphql", json={"query": PAGE % 8})).json()
                left.append(answer.get("extensions", {})["cost"].get("remaining"))
            assert left == [998, None]
            assert answer["data"] is None
            assert answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
            assert "45 seconds" in answer["errors"][0]["extensions"]["remedy"]
            cheap = (await http.post("/graphql", json={"query": "{ me { role } }"})).json()
            assert cheap["extensions"]["cost"]["remaining"] == 997
            headers = {"authorization": f"Bearer {other}"}
            mine = (await http.post("/graphql", json={"query": PAGE % 8}, headers=headers)).json()
            assert "errors" not in mine


async def test_a_budget_is_shared_by_processes_and_ends_with_the_minute(addresses: Addresses) -> None:
    queue = await Queue.open(addresses.redis_url)
    try:
        key, now = f"token:{time.time_ns()}", time.time() // 60 * 60
        with patch("siyu_graphql.meter.time.time", lambda: now):
            first, second = Meter(queue, 1_000), Meter(queue, 1_000)
            assert await first.spend(key, 600) == 400
            assert await second.spend(key, 300) == 100
            with pytest.raises(RateLimited):
                await first.spend(key, 200)
            assert await first.spend(key, 50) is not None
        with patch("siyu_graphql.meter.time.time", lambda: now + 60):
            assert await first.spend(key, 1_000) == 0
        assert 0 < await queue._redis.ttl(f"siyu:cost:{key}:{int(now // 60)}") <= 120
    finally:
        await queue.close()


async def test_of_many_at_once_no_more_pass_than_the_budget_has(addresses: Addresses) -> None:
    queue = await Queue.open(addresses.redis_url)
    try:
        meters = [Meter(queue, 1_000) for _ in range(4)]
        key = f"token:{time.time_ns()}"

        async def ask(number: int) -> bool:
            try:
                await meters[number % 4].spend(key, 7)
            except RateLimited:
                return False
            return True

        with patch("siyu_graphql.meter.time.time", lambda: 120.0):
            passed = sum(await asyncio.gather(*map(ask, range(400))))
        assert 130 <= passed <= 1_000 // 7
    finally:
        await queue.close()


async def test_where_valkey_is_away_only_the_limit_of_a_request_holds(api: Any) -> None:
    api.queue.away = True
    answer = await api.ask(PAGE % 10)
    assert "errors" not in answer
    assert answer["extensions"]["cost"]["remaining"] is None
    async with serving(api, most_cost=100) as http:
        answer = (await http.post("/graphql", json={"query": PAGE % 10})).json()
    assert answer["errors"][0]["extensions"]["code"] == "TOO_LARGE"


async def test_a_budget_of_none_is_not_asked_for(api: Any) -> None:
    async with serving(api, cost_per_minute=0) as http:
        answer = (await http.post("/graphql", json={"query": PAGE % 10})).json()
    assert answer["extensions"]["cost"] == {"requested": 1202, "limit": 30_000}
    assert not api.queue.numbers


# -- batches ------------------------------------------------------------------------------------------------------


async def test_a_batch_is_answered_in_its_order_each_by_itself(api: Any, brand: Brand) -> None:
    rename = "query Second($x: String!) { brand(slug: $x) { slug } }"
    body = [
        {"query": "{ version }"},
        {"query": rename, "variables": {"x": "shop"}, "operationName": "Second"},
        {"query": "{ nothing }"},
        {"query": 'mutation { enablePlugin(brand: "shop", plugin: "rfm") { plugin { enabled } } }'},
        {"query": '{ brand(slug: "shop") { plugins { name enabled } } }'},
    ]
    answers = (await api.post(body)).json()
    assert answers[0]["data"]["version"]
    assert answers[1]["data"] == {"brand": {"slug": "shop"}}
    assert answers[2]["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"
    assert {"name": "rfm", "enabled": True} in answers[4]["data"]["brand"]["plugins"]


async def test_a_batch_has_an_end_and_one_bill(api: Any) -> None:
    assert (await api.post([{"query": "{ version }"}] * 10)).status_code == 200
    response = await api.post([{"query": "{ version }"}] * 11)
    assert response.status_code == 400
    assert "1 to 10 operations" in response.json()["errors"][0]["message"]
    answers = (await api.post([{"query": PAGE % 90}] * 4)).json()
    assert ["errors" in answer for answer in answers] == [False, False, False, True]
    assert answers[3]["errors"][0]["extensions"]["code"] == "TOO_LARGE"


# -- time ---------------------------------------------------------------------------------------------------------


async def running(api: Any) -> int:
    async with api.ctx.db.connection() as connection:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
        return int(await connection.fetchval(sql + " AND state = 'active'"))


@pytest.mark.parametrize("selection", ["users { nodes { id } }", 'user(identity: {kind: "a", value: "b"}) { id }'])
async def test_an_operation_that_takes_too_long_is_ended_and_so_are_its_statements(api: Any, selection: str) -> None:
    async def slowly(*given: Any, **_: Any) -> Any:
        connection = next(each for each in given if hasattr(each, "fetchval"))
        await connection.fetchval("SELECT pg_sleep(60)")

    began = time.monotonic()
    with (
        patch("siyu_graphql.paging.Listing.page", slowly),
        patch("siyu_graphql.user.queries.users_by_identity", slowly),
    ):
        async with serving(api, operation_seconds=0.5) as http:
            query = f'{{ version brand(slug: "shop") {{ {selection} }} }}'
            response = await http.post("/graphql", json={"query": query})
    assert time.monotonic() - began < 10
    answer = response.json()
    assert response.status_code == 200
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"TIMEOUT"}
    assert "0.5 seconds" in answer["errors"][0]["message"]
    for _ in range(100):
        if not await running(api):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the statement goes on")
