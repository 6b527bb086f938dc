"""What the database does for a brand of many users: it reads what is shown, and counts nobody."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from siyu.flow.filters import UserFilter
from siyu.store.db import Database
from siyu.store.models import Brand
from siyu_graphql.user.filters import Direction, UserOrder, UserOrderField
from siyu_graphql.user.queries import plain_users

USERS = 100_000
FILL = """
INSERT INTO users (brand_id, id, attributes, first_seen, last_seen)
    SELECT {brand}, n, '{{}}', timestamptz '2025-01-01' + n % 5000 * interval '3 hours',
        timestamptz '2026-01-01' + n % 5000 * interval '1 minute'
    FROM generate_series(1, {users}) n;
INSERT INTO tag (brand_id, key, title, plugin, active, users)
    VALUES ({brand}, 'a.b', 'AB', 'a', true, {users} / 10), ({brand}, 'a.c', 'AC', 'a', true, {users});
INSERT INTO tag_assignment (brand_id, user_id, tag_id, since, rulebook_id, why)
    SELECT {brand}, n, t.id, now(), 1, '[]' FROM tag t, generate_series(1, {users}, {users} / t.users) n
    WHERE t.brand_id = {brand};
INSERT INTO stage (brand_id, track, key, title, plugin, position, active, users)
    VALUES ({brand}, 'lifecycle', 'lost', 'Lost', 'a', 1, true, {users} / 4);
INSERT INTO user_stage (brand_id, user_id, track, stage, since, rulebook_id, why)
    SELECT {brand}, n, 'lifecycle', 'lost', now(), 1, '[]' FROM generate_series(1, {users}, 4) n;
INSERT INTO event (brand_id, key, user_id, kind, at, payload)
    SELECT {brand}, n::text, n, 'order.paid', now(), '{{}}' FROM generate_series(1, {users}) n;
ANALYZE users; ANALYZE tag_assignment; ANALYZE user_stage; ANALYZE event;
"""
PAGE = """query ($after: String, $order: UserOrder, $filter: UserFilter) { brand(slug: "large") {
  users(first: 50, after: $after, orderBy: $order, filter: $filter) {
    totalCount pageInfo { endCursor hasNextPage }
    nodes { id tags { key } stages { key } events(first: 2) { nodes { id } } }
  } } }"""


MIDDLE = datetime(2026, 1, 2, 17, tzinfo=UTC)
FILTERS = (
    ({"tag": ["a.b"]}, USERS // 10),
    ({"stage": {"track": "lifecycle", "key": "lost"}}, USERS // 4),
    ({"tag": ["a.nothing"]}, 0),
)


@pytest.fixture
async def large(api: Any, door: Any) -> Any:
    brand = await Brand.create(slug="large", name="Large")
    async with api.ctx.db.connection() as connection:
        await connection.execute(FILL.format(brand=brand.id, users=USERS))
    return api


@pytest.fixture
async def world(api: Any) -> Any:
    """What the door is taken from."""
    return api


async def explained(api: Any, **variables: Any) -> tuple[Any, list[Any]]:
    """The list, and the plan of each statement that read it."""
    plans: list[Any] = []
    reading = Database.reading

    @asynccontextmanager
    async def watched(db: Database) -> AsyncIterator[Any]:
        async with reading(db) as connection:
            yield Watched(connection, plans)

    with patch.object(Database, "reading", watched):
        found = (await api.data(PAGE, **variables))["brand"]["users"]
    return found, plans


class Watched:
    """A connection that says how it answers."""

    def __init__(self, connection: Any, plans: list[Any]) -> None:
        self._connection = connection
        self._plans = plans

    async def _explain(self, sql: str, *values: Any) -> None:
        text = await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values)
        self._plans += nodes(json.loads(text)[0]["Plan"])

    async def fetch(self, sql: str, *values: Any) -> Any:
        await self._explain(sql, *values)
        return await self._connection.fetch(sql, *values)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        await self._explain(sql, *values)
        return await self._connection.fetchval(sql, *values)

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        return await self._connection.fetchrow(sql, *values)


def nodes(plan: Any) -> list[Any]:
    return [plan, *(inner for child in plan.get("Plans", ()) for inner in nodes(child))]


def touched(plans: list[Any]) -> int:
    """How many rows the dearest step went through."""
    return max(
        int((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]) for plan in plans
    )


async def test_a_large_brand_is_read_by_its_pages_and_not_counted(large: Any, door: Any) -> None:
    for direction in Direction:
        for field in UserOrderField:
            found = plain_users(UserFilter(), UserOrder(field=field, direction=direction))
            assert found is not None
            order = found[0].order
            deep = order.cursor({"id": USERS // 2, "last_seen": MIDDLE, "first_seen": MIDDLE})
            given = {"field": field.name, "direction": direction.name}
            shown, plans = await explained(large, after=deep, order=given)
            assert (shown["totalCount"], len(shown["nodes"]), shown["pageInfo"]["hasNextPage"]) == (USERS, 50, True)
            assert touched(plans) <= 300, "51 users, what hangs on them, and a count that is kept"
            assert not [plan for plan in plans if plan["Node Type"] == "Seq Scan" and _large(plan)]
    for filter, count in FILTERS:
        found, plans = await explained(large, filter=filter)
        assert (found["totalCount"], len(found["nodes"])) == (count, min(50, count))
        assert touched(plans) <= 1_000
    assert door.plans.counts.ordinary == 0


def _large(plan: Any) -> bool:
    return plan["Relation Name"].rpartition("_")[0] in {"users", "tag_assignment", "user_stage", "event", "identity"}
