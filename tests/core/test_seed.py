"""The invented brand: the same every time, with something to see everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from siyu import seed
from siyu.contract.errors import InputError
from siyu.flow.context import Context
from siyu.store.models import Brand, Run

SHOWN = """
SELECT i.value, array(SELECT t.key || a.since FROM tag_assignment a JOIN tag t ON t.brand_id = $1 AND t.id = a.tag_id
                      WHERE a.brand_id = $1 AND a.user_id = i.user_id ORDER BY t.key),
       array(SELECT track || stage || since FROM user_stage
             WHERE brand_id = $1 AND user_id = i.user_id ORDER BY track)
FROM identity i WHERE i.brand_id = $1 ORDER BY i.value
"""


async def shown(ctx: Context, brand: Brand) -> list[Any]:
    async with ctx.db.connection() as connection:
        return [tuple(row) for row in await connection.fetch(SHOWN, brand.id)]


async def test_it_is_the_same_every_time_and_asked_for_again_stays_as_it_is(house: Context) -> None:
    one, other = await seed.seed(house, "one"), await seed.seed(house, "other")
    found = await shown(house, one)
    assert len(found) == seed.USERS
    assert found == await shown(house, other)
    await seed.seed(house, "one")
    assert await shown(house, one) == found
    assert await Run.filter(brand_id=one.id, kind="seed").count() == 1

    async with house.db.connection() as connection:
        stages = await connection.fetch(
            "SELECT key, users FROM stage WHERE brand_id = $1 AND track = 'lifecycle'", one.id
        )
        assert all(row["users"] >= 10 for row in stages)
        assert len(stages) == 5
        for table in ("stage_history", "tag_history", "outbox_message"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE brand_id = $1", one.id), table


async def test_a_brand_that_was_not_seeded_is_left_alone(house: Context) -> None:
    await Brand.create(slug="real", name="Real")
    with pytest.raises(InputError, match="already"):
        await seed.seed(house, "real")
