"""What is rare among many rows is found by an index, and deep pages are as near as the first. The planner is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from siyu.flow.filters import filter_of, users_where
from siyu.store.keyset import Order, Term, Where
from siyu.store.models import Brand
from siyu_graphql.action.filters import ActionFilter, actions_where
from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.action.types import ActionStatus
from siyu_graphql.event.filters import EventFilter, events_where
from siyu_graphql.event.queries import RECEIVED
from siyu_graphql.paging import Listing
from siyu_graphql.user.queries import USERS

from .conftest import Api

MANY = 50_000
FILL = """
INSERT INTO users (brand_id, id, first_seen, last_seen, attributes)
SELECT $1, i, to_timestamp(i), to_timestamp(2 * i), CASE WHEN i % 1000 = 0 THEN '{"city": "沪"}' ELSE '{}' END::jsonb
FROM generate_series(1, $2::int) i;
"""
EVENTS = """
INSERT INTO event (brand_id, key, user_id, kind, at, payload)
SELECT $1, i, i, CASE WHEN i % 10000 = 0 THEN 'order.refunded' ELSE 'order.paid' END, to_timestamp(i), '{}'
FROM generate_series(1, $2::int) i
"""
ACTED = """
INSERT INTO action (brand_id, key, user_id, plugin, playbook, channel, purpose, text, because, status, rulebook_id,
    planned_at, due_at)
SELECT $1, i, i, 'p', 'p', 'c', 'care', '', '', CASE WHEN i % 10000 = 0 THEN 'failed' ELSE 'sent' END, 1, now(), now()
FROM generate_series(1, $2::int) i
"""


@pytest.fixture(scope="module")
async def many(world: Api) -> tuple[Api, int]:
    """A brand of many rows, put there by the database itself."""
    brand = await Brand.create(slug="many", name="Many")
    async with world.ctx.db.connection() as connection:
        for sql in (FILL, EVENTS, ACTED):
            await connection.execute(sql, brand.id, MANY)
        await connection.execute("ANALYZE users; ANALYZE event; ANALYZE action")
    return world, brand.id


class Explaining:
    """A connection that tells the plans of the statements that it is given."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan = ""

    async def fetch(self, sql: str, *values: Any) -> Sequence[Any]:
        rows = await self._connection.fetch("EXPLAIN " + sql, *values)
        self.plan = "\n".join(row[0] for row in rows)
        return []


async def plan(many: tuple[Api, int], listing: Listing[Any], *terms: Term) -> str:
    world, brand_id = many
    async with world.ctx.db.connection() as connection:
        explaining = Explaining(connection)
        await listing.page(explaining, Where(brand_id, *terms), 21)
    return explaining.plan


async def test_an_attribute_that_few_have_is_found_by_its_index(many: Any) -> None:
    rare = users_where(filter_of({"attribute": [{"name": "city", "eq": "沪"}]}))
    found = await plan(many, USERS.ordered(Order((("id", int),))), rare)
    assert "attributes_idx" in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize("column", ["first_seen", "last_seen"])
@pytest.mark.parametrize("descending", [True, False])
async def test_a_page_in_the_middle_is_read_where_it_begins(many: Any, column: str, descending: bool) -> None:
    order = Order(((column, datetime), ("id", int)), descending)
    beyond = order.beyond((datetime.fromtimestamp(MANY // 2, UTC), MANY // 2))
    found = await plan(many, USERS.ordered(order), users_where(filter_of({})), beyond)
    assert f"{column}_" in found
    assert "Sort" not in found
    assert "Seq Scan on users" not in found


async def test_events_of_a_rare_kind_are_found_by_their_index(many: Any) -> None:
    found = await plan(many, RECEIVED, *events_where(many[1], EventFilter(kind=["order.refunded"])))
    assert "kind_id_idx" in found
    assert "Seq Scan" not in found


async def test_actions_that_failed_are_found_by_their_index(many: Any) -> None:
    failed = ActionFilter(status=[ActionStatus.FAILED, ActionStatus.UNKNOWN])
    found = await plan(many, ACTIONS, *actions_where(many[1], failed))
    assert "status_id_idx" in found
    assert "Seq Scan" not in found
